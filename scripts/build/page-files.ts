/** The page in the form that the one file serves: its modules as one, made small. */
import { build as runEsbuild, transform } from 'esbuild';
import { join } from 'node:path';
import { readPageFiles, type PageFile } from '../../common/watch/page-files.ts';

const PAGE = join(import.meta.dirname, '../../common/watch/page');
/** Each is asked for by an HTML file; the other modules are in them. */
const MAINS = ['/page/main.ts', '/page/fleet.ts'];

/** @returns a module in place of common/watch/page-files.ts, with the files in it. */
export async function pageFilesModule(): Promise<string> {
  const files: PageFile[] = [];
  for (const file of await readPageFiles()) {
    if (MAINS.includes(file.path)) files.push({ ...file, text: await bundlePage(file.path) });
    else if (file.path.endsWith('.css')) files.push({ ...file, text: await smallStyle(file.text) });
    else if (!file.path.endsWith('.ts')) files.push(file);
  }
  return `export const readPageFiles = async () => ${JSON.stringify(files)};`;
}

async function bundlePage(main: string): Promise<string> {
  const { outputFiles } = await runEsbuild({
    entryPoints: [join(PAGE, '..', main)],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    target: 'esnext',
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
  });
  return outputFiles.map(({ text }) => text).join('');
}

async function smallStyle(text: string): Promise<string> {
  return (await transform(text, { loader: 'css', minify: true })).code;
}
