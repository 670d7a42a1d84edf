/**
 * Small files that survive a power cut whole or not at all: written under another name, synced, renamed, and
 * the folder synced as well, because names are the data of the folder (fsync(2)). Errors are the system's
 * own; callers wrap them.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/**
 * Replaces the content of the file by `data`; durable when it resolves.
 * @param mode permission bits, which the umask does not change.
 */
export async function writeFileDurably(path: string, data: string | Buffer, mode: number): Promise<void> {
  await writeBesides(path, data, mode, async (besides) => rename(besides, path));
}

/**
 * The same for a file that must not exist yet, even if two processes try at once.
 * @returns false, with the file unchanged, if it exists.
 */
export async function createFileDurably(path: string, data: string | Buffer, mode: number): Promise<boolean> {
  try {
    await writeBesides(path, data, mode, async (besides) => {
      // Unlike rename(2), link(2) never replaces.
      await link(besides, path);
      await unlink(besides);
    });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Makes the folder and its missing parents with this mode, less the umask; durable when it resolves.
 */
export async function makeFolderDurably(path: string, mode: number): Promise<void> {
  const folder = resolve(path);
  const parent = dirname(folder);
  // Step by step: Node's recursive mkdir gives ENOENT for a full disk and for a read-only file system.
  try {
    await mkdir(folder, { mode });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' && (await isFolder(folder))) return;
    if (code !== 'ENOENT' || parent === folder) throw error;
    await makeFolderDurably(parent, mode);
    return await makeFolderDurably(folder, mode);
  }
  await syncFolder(parent);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true;
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

async function writeBesides(
  path: string,
  data: string | Buffer,
  mode: number,
  giveName: (besides: string) => Promise<void>,
): Promise<void> {
  const besides = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeSynced(besides, data, mode);
    await giveName(besides);
  } catch (error) {
    // It may be gone already, and the first error is the one that matters.
    await unlink(besides).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

async function writeSynced(path: string, data: string | Buffer, mode: number): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  await file.chmod(mode);
  await file.writeFile(data);
  await file.sync();
}
