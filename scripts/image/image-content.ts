/** Files for disk images: the same files for the same size. */
import { createCipheriv, hash } from 'node:crypto';
import { access, constants, copyFile, glob, mkdir, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { TransferError } from '../../common/errors.ts';

const MIB = 2 ** 20;
const FOLDER_BYTES = 16 * MIB;
export const FS_BLOCK_BYTES = 4096;
const PROJECT = resolve(import.meta.dirname, '../..');

/** The content of a file system, ready to be copied; paths are relative to `root`. */
export interface Content {
  readonly root: string;
  readonly folders: readonly { readonly name: string; readonly files: readonly string[] }[];
  readonly fileCount: number;
  readonly bytes: number;
  /** About the space that each folder takes on the disk. */
  readonly folderBytes: number;
}

/** An endless stream of bytes that depends only on the seed and does not compress: AES-128-CTR over zeros. */
export function seededBytes(seed: number): (lengthBytes: number) => Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(seed);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  return (lengthBytes) => cipher.update(Buffer.alloc(lengthBytes));
}

/** Real text: sources and documents of packages pinned by the lockfile, in a fixed order. */
export async function listTexts(): Promise<string[]> {
  const texts: string[] = [];
  for await (const path of glob('node_modules/{undici,hono,fast-check}/**/*.{js,ts,md}', { cwd: PROJECT })) {
    texts.push(join(PROJECT, path));
  }
  return texts.sort();
}

/**
 * All readable regular files below a folder, shuffled in an order that depends only on their names.
 * @throws TransferError `usage` when there are none.
 */
async function listFiles(folder: string): Promise<string[]> {
  const files: [order: string, path: string][] = [];
  for await (const entry of glob('**/*', { cwd: folder, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const canRead = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    );
    if (canRead) files.push([hash('sha256', path), path]);
  }
  if (files.length === 0) throw new TransferError('usage', `cannot read any file below ${folder}`);
  return files.sort(([one], [other]) => (one < other ? -1 : 1)).map(([, path]) => path);
}

/**
 * Fills folders of about equal size below `root`: an eighth text, the rest random files of 16 KiB to 2 MiB.
 * @param wantedBytes on the disk; at most one random file exceeds it.
 * @param from a folder whose files are used instead, each once, until they run out.
 */
export async function makeContent(
  root: string,
  { wantedBytes, from }: { readonly wantedBytes: number; readonly from: string | undefined },
  signal: AbortSignal,
): Promise<Content> {
  const given = from === undefined ? undefined : await listFiles(from);
  const texts = given ?? (await listTexts());
  const random = seededBytes(1);
  const folderCount = Math.max(1, Math.round(wantedBytes / FOLDER_BYTES));
  const folderBytes = wantedBytes / folderCount;
  const folders = Array.from({ length: folderCount }, (_, index) => ({
    name: `f${index}`,
    files: [] as string[],
  }));
  const textBytes = given === undefined ? folderBytes / 8 : folderBytes;
  let [nth, fileCount, bytes, filledBytes] = [0, 0, 0, 0];
  for (const [index, { name, files }] of folders.entries()) {
    await mkdir(join(root, name));
    const emptyBytes = index * folderBytes;
    while (filledBytes < emptyBytes + folderBytes && nth < (given?.length ?? Infinity)) {
      signal.throwIfAborted();
      const text = filledBytes < emptyBytes + textBytes ? texts[nth % texts.length] : undefined;
      nth += 1;
      if (text !== undefined && (await stat(text)).size > wantedBytes - filledBytes) continue;
      const label = text === undefined ? 'random.bin' : basename(text).replace(/[^\w.-]/g, '_');
      const file = `${name}/${String(fileCount).padStart(6, '0')}-${label}`;
      if (text !== undefined) await copyFile(text, join(root, file));
      else await writeFile(join(root, file), random(16 * 1024 + (random(4).readUInt32BE() % (2 * MIB))));
      files.push(file);
      fileCount += 1;
      const sizeBytes = (await stat(join(root, file))).size;
      filledBytes += Math.ceil(sizeBytes / FS_BLOCK_BYTES) * FS_BLOCK_BYTES;
      bytes += sizeBytes;
    }
  }
  return { root, folders, fileCount, bytes, folderBytes };
}
