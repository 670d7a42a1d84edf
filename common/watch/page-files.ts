/**
 * The files of the page, as a browser gets them. In the source tree they are read, and their types stripped,
 * when the page is served; the one file has them in the form that scripts/build/page-files.ts gives them.
 */
import { readFile } from 'node:fs/promises';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';

export interface PageFile {
  /** As the browser asks for it. */
  readonly path: string;
  readonly type: string;
  readonly text: string;
}

export const PAGE_TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  ts: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const;

const HERE = import.meta.dirname;
/** Modules import each other by these paths. */
const MODULES = [
  '/page/main.ts',
  '/page/block-map.ts',
  '/page/block-store.ts',
  '/page/copy-stream.ts',
  '/page/dom.ts',
  '/page/fleet.ts',
  '/page/map-view.ts',
  '/page/show-status.ts',
  '/page/throughput-chart.ts',
  '/block-kinds.ts',
  '/fleet-board.ts',
  '/watch-frames.ts',
];

export async function readPageFiles(): Promise<PageFile[]> {
  const uplot = join(createRequire(import.meta.url).resolve('uplot'), '..');
  const read = async (path: string, type: string, file: string): Promise<PageFile> => ({
    path,
    type,
    text: await readFile(file, 'utf8'),
  });
  const modules = MODULES.map(async (path) => {
    const file = await read(path, PAGE_TYPES.ts, join(HERE, path));
    return { ...file, text: stripTypeScriptTypes(file.text) };
  });
  return await Promise.all([
    read('/', PAGE_TYPES.html, join(HERE, 'page/page.html')),
    read('/fleet.html', PAGE_TYPES.html, join(HERE, 'page/fleet.html')),
    read('/page.css', PAGE_TYPES.css, join(HERE, 'page/page.css')),
    read('/icon.svg', PAGE_TYPES.svg, join(HERE, 'page/icon.svg')),
    read('/uplot.css', PAGE_TYPES.css, join(uplot, 'uPlot.min.css')),
    read('/uplot.js', PAGE_TYPES.js, join(uplot, 'uPlot.iife.min.js')),
    ...modules,
  ]);
}
