/** All commands and the packages that they use, in one JavaScript module. */
import { build as runEsbuild, type Plugin } from 'esbuild';
import { join } from 'node:path';
import { pageFilesModule } from './page-files.ts';

const HERE = import.meta.dirname;
const ADDON = '@napi-rs/blake-hash';
const PACKAGE = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//;

/**
 * Packages in the form of CommonJS ask for modules of Node.js by a function that a module does not have. It
 * finds nothing else, whatever its place is: `import.meta.url` is the word that the file was called by.
 */
const REQUIRE = "import{createRequire as makeRequire}from'node:module';const require=makeRequire('/');";

/** The native part is not JavaScript: it is beside the module, and found there by another one. */
const nativeAddon: Plugin = {
  name: 'native-addon',
  setup: (build) => {
    build.onResolve({ filter: /^@napi-rs\/blake-hash$/ }, () => ({ path: join(HERE, 'native-addon.ts') }));
  },
};

/** The files of the page are read where there is a source tree; here they are in the module. */
const pageFiles: Plugin = {
  name: 'page-files',
  setup: (build) => {
    build.onLoad({ filter: /\/common\/watch\/page-files\.ts$/ }, async () => ({
      contents: await pageFilesModule(),
    }));
  },
};
/** Not imported: its files are read. */
const PAGE_PACKAGES = ['uplot'];

/** @returns the names of the packages that are in it. */
export async function bundle(path: string): Promise<string[]> {
  const { metafile } = await runEsbuild({
    absWorkingDir: join(HERE, '../..'),
    entryPoints: [join(HERE, 'launch.ts')],
    outfile: path,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'esnext',
    minify: true,
    // In what a bug prints.
    keepNames: true,
    legalComments: 'none',
    banner: { js: REQUIRE },
    plugins: [nativeAddon, pageFiles],
    logLevel: 'warning',
    metafile: true,
  });
  const names = Object.keys(metafile.inputs).map((input) => PACKAGE.exec(input)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined)), ADDON, ...PAGE_PACKAGES].sort();
}
