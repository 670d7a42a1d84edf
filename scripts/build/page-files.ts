/** The page in the form that the one file serves: its modules as one, made small. */
import { build as runEsbuild, transform } from 'esbuild';
import { join } from 'node:path';
import { readPageFiles, type PageFile } from '../../common/watch/page-files.ts';

const PAGE = join(import.meta.dirname, '../../common/watch/page');
/** The HTML asks for it; the other modules are in it. */
const MAIN = '/page/main.ts';

/** @returns a module in place of common/watch/page-files.ts, with the files in it. */
export async function pageFilesModule(): Promise<string> {
  const files: PageFile[] = [];
  for (const file of await readPageFiles()) {
    if (file.path === MAIN) files.push({ ...file, text: await bundlePage() });
    else if (file.path.endsWith('.css')) files.push({ ...file, text: await smallStyle(file.text) });
    else if (!file.path.endsWith('.ts')) files.push(file);
  }
  return `export const readPageFiles = async () => ${JSON.stringify(files)};`;
}

async function bundlePage(): Promise<string> {
  const { outputFiles } = await runEsbuild({
    entryPoints: [join(PAGE, 'main.ts')],
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
