/**
 * The files of the page, as a browser gets them. In the source tree they are read when the page is served; in
 * the one file they are part of the program (scripts/build/page-files.ts).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WatchRoute } from './watch-server.ts';

export interface PageFile {
  readonly path: string;
  readonly type: string;
  readonly text: string;
}

const HERE = import.meta.dirname;

/** In the order in which a browser asks for them. */
const FILES: readonly { readonly path: string; readonly type: string; readonly file: string }[] = [
  { path: '/', type: 'text/html; charset=utf-8', file: 'page/page.html' },
];

async function readPageFiles(): Promise<PageFile[]> {
  const files: PageFile[] = [];
  for (const { path, type, file } of FILES) {
    files.push({ path, type, text: await readFile(join(HERE, file), 'utf8') });
  }
  return files;
}

/** Public: they say nothing about any copy. */
export async function pageRoutes(): Promise<WatchRoute[]> {
  const files = await readPageFiles();
  return files.map(({ path, type, text }) => ({
    path,
    isPublic: true,
    answer: () => ({ type, body: text }),
  }));
}
