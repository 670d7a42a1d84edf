/** What the documents say is so: their examples run as they stand, their tables are those of the code. */
import assert from 'node:assert/strict';
import { access, glob, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ERROR_CODES, EXIT_STATUS } from '../common/errors.ts';
import * as geometry from '../common/geometry.ts';
import * as protocol from '../common/protocol/protocol.ts';
import { parseDuration, parseSize } from '../common/units.ts';
import { parseReceiveArgs } from '../receiver/cli.ts';
import { parseSendArgs } from '../sender/cli.ts';
import { mask } from './support/masked.ts';
import { prng } from './support/prng.ts';
import { assertEqualFiles, environment, MIB, runSender, startReceiver } from './support/processes.ts';
import { unlessInstalled } from './support/requires.ts';
import { run } from './support/run.ts';
import { tempDir, type TempDir } from './support/temp-dir.ts';

const PROJECT = join(import.meta.dirname, '..');
const README = await readFile(join(PROJECT, 'README.md'), 'utf8');
const PROTOCOL = await readFile(join(PROJECT, 'PROTOCOL.md'), 'utf8');

interface Example {
  readonly script: string;
  /** Of the block that follows: `json`, `text`, or `http`, of which each line must be in the output. */
  readonly kind: string | undefined;
  readonly output: string | undefined;
}

/** Blocks of `sh` behind `<!-- run <group> -->`, each with the output that stands behind it, if any. */
function examplesOf(document: string, group: string): Example[] {
  const pattern = /<!-- run (\w+) -->\n```sh\n(.*?)```\n(?:```(json|text|http)\n(.*?)```\n)?/gs;
  const found = [...document.matchAll(pattern)].filter((match) => match[1] === group);
  assert(found.length > 0, `examples of the group ${group}`);
  return found.map(([, , script = '', kind, output]) => ({ script, kind, output }));
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

/** Waits until what is durable has been read back, so that every block has the state that the text shows. */
const SETTLE = `for _ in $(seq 200); do
  if ! type ddt || ddt "$U/transfer" | grep '"written":0,"durable":0'; then break; fi
  sleep 0.05
done >/dev/null 2>&1`;

/** All examples in one shell, in order. @throws AssertionError where one fails or says something else. */
async function runExamples(examples: readonly Example[], folder: string): Promise<void> {
  const mark = '-- end of the example';
  const script = examples.map((each) => `${each.script}\necho; echo '${mark}'\n${SETTLE}\n`).join('');
  const options = { cwd: folder, env: environment() };
  const ended = await run('bash', ['-e', '-u', '-o', 'pipefail', '-c', script], options);
  assert.equal(ended.status, 0, `${ended.stdout}\n${ended.stderr}`);
  const outputs = ended.stdout.split(`${mark}\n`);
  assert.equal(outputs.length, examples.length + 1);
  for (const [at, example] of examples.entries()) compare(example, outputs[at] ?? '');
}

/** Five blocks of 4 MiB: the second is zero, the last has 1000 bytes. */
async function writeSource(folder: TempDir): Promise<string> {
  const bytes = prng(1).bytes(16 * MIB + 1000);
  bytes.fill(0, 4 * MIB, 8 * MIB);
  const path = join(folder.path, 'disk.img');
  await writeFile(path, bytes);
  return path;
}

const skip = unlessInstalled('b3sum', 'curl', 'openssl', 'ssh-keygen', 'zstd');

test(
  'the examples of PROTOCOL.md write a disk with curl, and answer what stands there',
  { skip },
  async () => {
    await using folder = await tempDir();
    const source = await writeSource(folder);
    const target = join(folder.path, 'target.img');
    await using _receiver = await startReceiver({ folder: folder.path, target });
    await runExamples(examplesOf(PROTOCOL, 'protocol'), folder.path);
    await assertEqualFiles(source, target);
  },
);

test(
  'the examples of README.md look into a transfer, put a block and check a receipt',
  { skip },
  async () => {
    await using folder = await tempDir();
    const source = await writeSource(folder);
    const target = join(folder.path, 'target.img');
    await using receiver = await startReceiver({ folder: folder.path, target });
    const claim = {
      size: 16 * MIB + 1000,
      blockSize: 4 * MIB,
      source: { description: 'disk.img' },
      digest: 'blake3',
    };
    const answer = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
    assert.equal(answer.status, 201);
    const curl = examplesOf(README, 'curl');
    await runExamples(curl, folder.path);
    assert.equal(await receiver.durableCount(), 1);
    const { status, stderr } = await runSender(['--ticket-file', receiver.ticketFile, source]);
    assert.equal(status, 0, stderr);
    const [setUp] = curl;
    assert(setUp !== undefined);
    await runExamples([setUp, ...examplesOf(README, 'receipt')], folder.path);
  },
);

/** The rows of all tables whose head begins with this cell. Bars in cells are not used. */
function rowsOf(document: string, head: string): string[][] {
  const rows: string[][] = [];
  let isInTable = false;
  for (const line of document.split('\n')) {
    const cells = line.split('|').slice(1, -1);
    const first = cells[0]?.trim();
    if (first === head) isInTable = true;
    else if (first === undefined) isInTable = false;
    else if (isInTable && !first.startsWith('--')) rows.push(cells.map((cell) => cell.trim()));
  }
  return rows;
}

function codeIn(cell: string | undefined): string {
  return /^`([^`]+)`$/.exec(cell ?? '')?.[1] ?? '';
}

for (const parse of [parseReceiveArgs, parseSendArgs]) {
  const command = parse === parseSendArgs ? 'ddt-send' : 'ddt-receive';
  test(`README.md has the options of ${command}, no others, with their defaults`, () => {
    let help = '';
    parse(['--help'], (text) => (help += text));
    const options = help.slice(help.indexOf('\nOptions:'), help.indexOf('\nExamples:'));
    const inHelp = options.split(/\n {2}(?:-\w, )?(?=--)/).slice(1);
    const section = README.split('\n### ').find((part) => part.startsWith(command)) ?? '';
    const rows = new Map(rowsOf(section, 'option').map((cells) => [codeIn(cells[0]), cells]));
    assert(rows.size > 5 && rows.size === inHelp.length, `${rows.size} options of ${inHelp.length}`);
    for (const text of inHelp) {
      const name = /^--\S+(?: <\S+>)?/.exec(text)?.[0] ?? '';
      const row = rows.get(name);
      assert(row !== undefined, `README.md has no ${name}`);
      const given = /default:\s+"?([^")\s]+)"?\)/.exec(text)?.[1];
      if (given === undefined || given === 'false') continue;
      assert(row[1]?.includes(given), `README.md: the default of ${name} is ${given}`);
    }
  });
}

test('README.md explains every exit status that a kind of failure has, and no others', () => {
  const known = Object.values(EXIT_STATUS);
  const told = rowsOf(README, 'status').flatMap(([status = '']) => status.split(', ').map(Number));
  assert.deepEqual(new Set(told), new Set<number>(known));
});

/** code → status, of the codes that travel. */
const STATUS_OF_CODE = new Map(
  rowsOf(PROTOCOL, 'status').map(([status, code]) => [codeIn(code), Number(status)]),
);

test('PROTOCOL.md has every code once: those that travel with their status, the others apart', () => {
  const staying = rowsOf(PROTOCOL, 'code').map(([code]) => codeIn(code));
  const told = [...STATUS_OF_CODE.keys(), ...staying];
  assert.equal(new Set(told).size, told.length);
  assert.deepEqual(new Set(told), new Set(Object.keys(ERROR_CODES)));
  for (const [code, { status }] of Object.entries(ERROR_CODES)) {
    assert.equal(STATUS_OF_CODE.get(code) ?? status, status, code);
  }
});

test('whatever code the routes of the receiver refuse with is among those that travel', async () => {
  const transfer = ['seal', 'transfer', 'stream-size', 'write-block', 'open-transfer', 'memory-budget'];
  for await (const path of glob(
    ['receiver/{http,durability}/!(server).ts', `receiver/transfer/{${transfer.join()}}.ts`],
    { cwd: PROJECT },
  )) {
    const text = await readFile(join(PROJECT, path), 'utf8');
    for (const [, code = ''] of text.matchAll(/new TransferError\(\s*'([\w-]+)'/g)) {
      // Of a connection that was cut nobody hears.
      assert(STATUS_OF_CODE.has(code) || code === 'connection-failed', `${path}: ${code}`);
    }
  }
});

/** What a constant of this name is set to, or a member of a constant; read, for not all are exported. */
async function valueOf(name: string, file: string): Promise<number> {
  const text = await readFile(join(PROJECT, file), 'utf8');
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
function parseValue(name: string, text: string): number {
  const compact = text.replace(' ', '');
  if (/Ms$|_MS(_|$)/.test(name)) return parseDuration(compact);
  if (/_SECONDS/.test(name) && compact.endsWith('s')) return parseDuration(compact) / 1000;
  if (name.includes('_DAYS')) return Number(/^(\d+)days$/.exec(compact)?.[1]);
  return parseSize(compact);
}

test('the limits of PROTOCOL.md are those of the code, and no shared one is left out', async () => {
  const rows = rowsOf(PROTOCOL, 'name').filter((cells) => cells.length === 4);
  assert(rows.length > 20);
  for (const [cell, value = '', file] of rows) {
    const name = codeIn(cell);
    assert.equal(await valueOf(name, codeIn(file)), parseValue(name, value), `${name}: ${value}`);
  }
  const told = new Set(rows.map(([name]) => codeIn(name)));
  const shared = Object.keys({ ...protocol, ...geometry }).filter((name) => /_(MAX|MIN|DEFAULT)$/.test(name));
  assert(shared.length > 5);
  for (const name of shared) assert(told.has(name), name);
});

test('the two commands that a newcomer types stand in README.md on a line of their own', async () => {
  const lines = README.split('\n');
  assert(lines.includes('npm ci && npm run demo') && lines.includes('npm ci && npm test'));
  const ci = await readFile(join(PROJECT, '.ci/run'), 'utf8');
  assert(ci.split('\n').includes('npm ci && npm test'));
});

test('links between the documents lead to files and headings that exist', async () => {
  for (const name of ['README.md', 'PROTOCOL.md', 'SECURITY.md', 'CHANGELOG.md']) {
    const text = await readFile(join(PROJECT, name), 'utf8');
    for (const [, path = '', heading] of text.matchAll(/\]\(([^)#:]*)(?:#([^)]+))?\)/g)) {
      const file = join(PROJECT, path === '' ? name : path);
      await access(file);
      if (heading === undefined) continue;
      const headings = [...(await readFile(file, 'utf8')).matchAll(/^#+ (.*)$/gm)];
      const anchors = headings.map(([, words = '']) => words.toLowerCase().replaceAll(/[^\w -]/g, ''));
      assert(anchors.includes(heading.replaceAll('-', ' ')), `${name}: ${path}#${heading}`);
    }
  }
});
