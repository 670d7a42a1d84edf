/** Real files for disk images: the same ones for the same size. */
import { createCipheriv } from 'node:crypto';
import { copyFile, glob, mkdir, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';

const MIB = 2 ** 20;
const FOLDER_BYTES = 16 * MIB;
const PROJECT = resolve(import.meta.dirname, '..');

/** What a file system shall hold, ready to be copied; paths are relative to `root`. */
export interface Content {
  readonly root: string;
  readonly folders: readonly { readonly name: string; readonly files: readonly string[] }[];
  readonly fileCount: number;
  readonly bytes: number;
}

/** Endless bytes that depend on nothing but the seed and do not compress: AES-128-CTR over zeros. */
function seededBytes(seed: number): (lengthBytes: number) => Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(seed);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  return (lengthBytes) => cipher.update(Buffer.alloc(lengthBytes));
}

/** Real text: sources and documents of packages that the lockfile pins, in a fixed order. */
async function listTexts(): Promise<string[]> {
  const texts: string[] = [];
  for await (const path of glob('node_modules/{undici,hono,fast-check}/**/*.{js,ts,md}', { cwd: PROJECT })) {
    texts.push(join(PROJECT, path));
  }
  return texts.sort();
}

/**
 * Fills folders of equal size below `root`: an eighth text, the rest random files of 16 KiB to 2 MiB.
 * @param wantedBytes is passed by at most one file a folder.
 */
export async function makeContent(root: string, wantedBytes: number, signal: AbortSignal): Promise<Content> {
  const texts = await listTexts();
  const random = seededBytes(1);
  const folderCount = Math.max(1, Math.round(wantedBytes / FOLDER_BYTES));
  const folderBytes = wantedBytes / folderCount;
  const folders = Array.from({ length: folderCount }, (_, index) => ({
    name: `f${index}`,
    files: [] as string[],
  }));
  let fileCount = 0;
  let bytes = 0;
  for (const { name, files } of folders) {
    await mkdir(join(root, name));
    for (let filledBytes = 0; filledBytes < folderBytes; fileCount++) {
      signal.throwIfAborted();
      const text = filledBytes < folderBytes / 8 ? texts[fileCount % texts.length] : undefined;
      const label = text === undefined ? 'random.bin' : basename(text).replace(/[^\w.-]/g, '_');
      const file = `${name}/${String(fileCount).padStart(6, '0')}-${label}`;
      if (text !== undefined) await copyFile(text, join(root, file));
      else await writeFile(join(root, file), random(16 * 1024 + (random(4).readUInt32BE() % (2 * MIB))));
      files.push(file);
      const sizeBytes = (await stat(join(root, file))).size;
      filledBytes += sizeBytes;
      bytes += sizeBytes;
    }
  }
  return { root, folders, fileCount, bytes };
}
