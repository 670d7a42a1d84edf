/** The licenses of what is in the one file, to be handed on with it: `ddt --licenses` prints them. */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../run-script.ts';

const PROJECT = join(import.meta.dirname, '../..');
const LICENSE_FILE = /^licen[sc]e(\.\w+)?$/i;

/**
 * @param packages of npm.
 * @param node the program of Node.js, in its package.
 */
export async function readLicenses(packages: readonly string[], node: string): Promise<string> {
  const folders = [
    ['dd-transfer', PROJECT],
    ['Node.js', join(dirname(node), '..')],
    ...packages.map((name) => [name, join(PROJECT, 'node_modules', name)]),
  ] as [string, string][];
  let text = '';
  for (const [name, folder] of folders) {
    const file = (await readdir(folder)).find((each) => LICENSE_FILE.test(each));
    if (file === undefined) throw new Failure(`no license in ${folder}`);
    text += `=== ${name} ===\n\n${(await readFile(join(folder, file), 'utf8')).trim()}\n\n`;
  }
  return text;
}
