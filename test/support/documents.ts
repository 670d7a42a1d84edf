/** The documents as tests see them: their tables, their examples, and the figures that the code has. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDuration, parseSize } from '../../common/units.ts';
import { mask } from './masked.ts';
import { SCRIPTS, environment } from './processes.ts';
import { run, type Ended } from './run.ts';

export const PROJECT = join(import.meta.dirname, '../..');

/** @param path relative to the project. */
export async function readDocument(path: string): Promise<string> {
  return await readFile(join(PROJECT, path), 'utf8');
}

/** Paths of all documents, relative to the project. */
export async function allDocuments(): Promise<string[]> {
  const found = await Array.fromAsync(glob(['*.md', 'docs/**/*.md'], { cwd: PROJECT }));
  assert(found.length > 20, 'the documents are found');
  return found.sort();
}

/** The rows of all tables whose first column has this head. */
export function rowsOf(document: string, head: string): string[][] {
  const rows: string[][] = [];
  let isInTable = false;
  for (const line of document.split('\n')) {
    const cells = line.split(/(?<!\\)\|/).slice(1, -1);
    const first = cells[0]?.trim();
    if (first === head) isInTable = true;
    else if (first === undefined) isInTable = false;
    else if (isInTable && !first.startsWith('--')) rows.push(cells.map((cell) => cell.trim()));
  }
  return rows;
}

/** What a cell has between backquotes, if that is all it has. */
export function codeIn(cell: string | undefined): string {
  return /^`([^`]+)`$/.exec(cell ?? '')?.[1] ?? '';
}

/** The headings of one level, in order. */
export function headingsOf(document: string, level: number): string[] {
  const outside = document.replaceAll(/^```[\s\S]*?^```/gm, '');
  return [...outside.matchAll(new RegExp(`^#{${level}} (.*)$`, 'gm'))].map(([, words = '']) => words);
}

export interface Example {
  readonly script: string;
  /** Of the block that follows: `json`, `text`, or `http`, of which each line must be in the output. */
  readonly kind: string | undefined;
  readonly output: string | undefined;
}

/** Blocks of `sh` after `<!-- run <group> -->`, each with the output that follows it, if any. */
export function examplesOf(document: string, group: string): Example[] {
  const pattern = /<!-- run (\w+) -->\n```sh\n(.*?)```\n(?:```(json|text|http)\n(.*?)```\n)?/gs;
  const found = [...document.matchAll(pattern)].filter((match) => match[1] === group);
  assert(found.length > 0, `examples of the group ${group}`);
  return found.map(([, , script = '', kind, output]) => ({ script, kind, output }));
}

/** The only example of its group, as a script. */
export async function recipe(path: string, group: string): Promise<string> {
  const examples = examplesOf(await readDocument(path), group);
  assert.equal(examples.length, 1, `${path}: ${group}`);
  return examples[0]?.script ?? '';
}

function compare({ script, kind, output }: Example, got: string): void {
  if (kind === undefined || output === undefined) return;
  const [actual, expected] = [mask(got).trim(), mask(output).trim()];
  if (kind === 'json') assert.deepEqual(JSON.parse(actual), JSON.parse(expected), script);
  else if (kind === 'text') assert.equal(actual, expected, script);
  else
    for (const line of expected.split('\n'))
      assert(actual.split(/\r?\n/).includes(line), `${line}: ${actual}`);
}

/**
 * Waits until everything written is durable, as the text shows it. It stays so until the reading before the
 * seal: in a file, writes of others can't be told from ours.
 */
const SETTLE = `for _ in $(seq 200); do
  if ! type ddt || ddt "$U/transfer" | grep '"written":0,'; then break; fi
  sleep 0.05
done >/dev/null 2>&1`;

/** Runs a script as a person would, with both commands on the PATH. @throws AssertionError if it fails. */
export async function runScript(script: string, folder: string): Promise<Ended> {
  const path = `${SCRIPTS}:${process.env['PATH'] ?? ''}`;
  const options = { cwd: folder, env: environment({ PATH: path }) };
  const ended = await run('bash', ['-e', '-u', '-o', 'pipefail', '-c', script], options);
  assert.equal(ended.status, 0, `${ended.stdout}\n${ended.stderr}`);
  return ended;
}

/** All examples in one shell, in order. @throws AssertionError where one fails or prints something else. */
export async function runExamples(examples: readonly Example[], folder: string): Promise<void> {
  const mark = '-- end of the example';
  const script = examples.map((each) => `${each.script}\necho; echo '${mark}'\n${SETTLE}\n`).join('');
  const outputs = (await runScript(script, folder)).stdout.split(`${mark}\n`);
  assert.equal(outputs.length, examples.length + 1);
  for (const [at, example] of examples.entries()) compare(example, outputs[at] ?? '');
}

/** What a constant of this name is set to, or a member of a constant; read, for not all are exported. */
export async function valueOf(name: string, file: string): Promise<number> {
  const text = await readDocument(file);
  const found = [...text.matchAll(new RegExp(`\\b${name}(?: =|:) ([\\d_. *]+)[;,]`, 'g'))];
  assert(found.length <= 1, `${name} is set once in ${file}`);
  if (found.length === 0)
    return Number(((await import(join(PROJECT, file))) as Record<string, unknown>)[name]);
  const powers = (found[0]?.[1] ?? '').replaceAll('_', '').split(/ \* (?!\*)/);
  return powers
    .map((power) => power.split(' ** ').map(Number))
    .reduce((product, [base = NaN, exponent = 1]) => product * base ** exponent, 1);
}

/** `64 KiB`, `0.5 s`, `30 days`, `4096`, in the unit that the constant's name tells. */
export function parseValue(name: string, text: string): number {
  const compact = text.replace(' ', '');
  if (/Ms$|_MS(_|$)/.test(name)) return parseDuration(compact);
  if (/_SECONDS/.test(name) && compact.endsWith('s')) return parseDuration(compact) / 1000;
  if (name.includes('_DAYS')) return Number(/^(\d+)days$/.exec(compact)?.[1]);
  return parseSize(compact);
}
