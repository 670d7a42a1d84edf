/** What the documents say is so: their tables are those of the code, their links and names lead somewhere. */
import assert from 'node:assert/strict';
import { access, glob, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path/posix';
import { test } from 'node:test';
import { ERROR_CODES, EXIT_STATUS, exitStatusOf, isErrorCode } from '../common/errors.ts';
import * as geometry from '../common/geometry.ts';
import { PROBLEM_CODES } from '../common/protocol/problem-codes.ts';
import * as protocol from '../common/protocol/protocol.ts';
import { parseFleetArgs } from '../fleet/cli.ts';
import { parseReceiveArgs } from '../receiver/cli.ts';
import { parseSendArgs } from '../sender/cli.ts';
import {
  PROJECT,
  allDocuments,
  codeIn,
  headingsOf,
  parseValue,
  readDocument,
  rowsOf,
  valueOf,
} from './support/documents.ts';
import { ARROWS } from './support/tidy-rules.ts';

const README = await readDocument('README.md');
const PROTOCOL = await readDocument('PROTOCOL.md');
const SECURITY = await readDocument('SECURITY.md');
const ARCHITECTURE = await readDocument('ARCHITECTURE.md');
const STATUSES = await readDocument('docs/reference/statuses.md');
const COMMANDS = [
  { name: 'ddt-send', parse: parseSendArgs, page: await readDocument('docs/reference/ddt-send.md') },
  { name: 'ddt-receive', parse: parseReceiveArgs, page: await readDocument('docs/reference/ddt-receive.md') },
  { name: 'ddt-fleet', parse: parseFleetArgs, page: await readDocument('docs/reference/ddt-fleet.md') },
];

function helpOf(parse: (argv: readonly string[], print: (text: string) => void) => unknown): string {
  let help = '';
  parse(['--help'], (text) => (help += text));
  return help;
}

for (const { name: command, parse, page } of COMMANDS) {
  test(`the reference of ${command} has its options, no others, with their defaults`, () => {
    const help = helpOf(parse);
    const options = help.slice(help.indexOf('\nOptions:'), help.indexOf('\nExamples:'));
    const inHelp = options.split(/\n {2}(?:-\w, )?(?=--)/).slice(1);
    const rows = new Map(rowsOf(page, 'option').map((cells) => [codeIn(cells[0]), cells]));
    assert(rows.size > 5 && rows.size === inHelp.length, `${rows.size} options of ${inHelp.length}`);
    for (const text of inHelp) {
      const name = /^--\S+(?: [<[]\S+[>\]])?/.exec(text)?.[0] ?? '';
      const row = rows.get(name);
      assert(row !== undefined, `no ${name}`);
      const given = /default:\s+"?([^")\s]+)"?\)/.exec(text)?.[1];
      if (given === undefined || given === 'false') continue;
      assert(row[1]?.includes(given), `the default of ${name} is ${given}`);
    }
  });

  test(`the reference of ${command} has the form of a manual page`, () => {
    const [usage = ''] = /(?<=^Usage: ).*$/m.exec(helpOf(parse)) ?? [];
    assert(usage.startsWith(command) && page.includes(`\n    ${usage}\n`), usage);
    const wanted = ['Name', 'Synopsis', 'Description', 'Options', 'Exit status', 'Environment'];
    const headings = headingsOf(page, 2).filter((heading) => wanted.includes(heading));
    assert.deepEqual(headings, wanted);
    assert(page.includes(`\n## Examples\n`) && page.includes(`\n## Files\n`));
  });
}

/** Numbers in the first cells of a table. */
function statusesIn(document: string, head: string): number[] {
  return rowsOf(document, head).flatMap(([status = '']) => status.split(', ').map(Number));
}

test('the references explain every exit status that a kind of failure has, and no others', () => {
  const known = new Set<number>(Object.values(EXIT_STATUS));
  const explained = COMMANDS.map(({ page }) => statusesIn(page, 'status'));
  for (const statuses of explained) {
    assert(statuses.length > 5 && new Set(statuses).size === statuses.length);
    for (const status of [EXIT_STATUS.verified, EXIT_STATUS.bug, EXIT_STATUS.usage, EXIT_STATUS.refused])
      assert(statuses.includes(status), String(status));
  }
  assert.deepEqual(new Set(explained.flat()), known);
  assert.deepEqual(new Set(statusesIn(STATUSES, 'exit')), known);
});

/** code → status, of the codes that travel. */
const STATUS_OF_CODE = new Map(
  rowsOf(PROTOCOL, 'status').map(([status, code]) => [codeIn(code), Number(status)]),
);

/** code → the exit statuses that the reference names for it. */
function exitsIn(head: string): Map<string, string> {
  const rows = rowsOf(STATUSES, head);
  const exits = new Map(rows.map(([code, exit = '']) => [codeIn(code), exit]));
  assert.equal(exits.size, rows.length, 'each code once');
  return exits;
}

test('PROTOCOL.md has every code that travels with its status, the reference the others too', () => {
  const local = exitsIn('local failure');
  assert.deepEqual(new Set(STATUS_OF_CODE.keys()), new Set(PROBLEM_CODES), 'what the sender obeys');
  const named = [...STATUS_OF_CODE.keys(), ...local.keys()];
  assert.equal(new Set(named).size, named.length);
  assert.deepEqual(new Set(named), new Set(Object.keys(ERROR_CODES)));
  assert.deepEqual(new Set(exitsIn('failure').keys()), new Set(STATUS_OF_CODE.keys()));
  for (const [code, { status }] of Object.entries(ERROR_CODES)) {
    assert.equal(STATUS_OF_CODE.get(code) ?? status, status, code);
  }
});

test('the reference has the exit status of every code', () => {
  const exits = new Map([...exitsIn('failure'), ...exitsIn('local failure')]);
  for (const [code, exit] of exits) {
    assert(isErrorCode(code), code);
    const { kind } = ERROR_CODES[code];
    const wanted = kind === 'interrupted' ? '129, 130, 143' : String(exitStatusOf(kind));
    assert.equal(exit, wanted, code);
  }
});

test('every code that the routes of the receiver refuse with is among those that travel', async () => {
  const operations = [
    'claim',
    'write-block',
    'copy-block',
    'adopt',
    'update',
    'seal',
    'reopen',
    'stream-size',
  ];
  const shared = ['transfer', 'open-transfer', 'refusals', 'memory-budget'];
  for await (const path of glob(
    [
      'receiver/{http,durability}/!(server).ts',
      `receiver/transfer/{${[...operations, ...shared].join()}}.ts`,
    ],
    { cwd: PROJECT },
  )) {
    const text = await readFile(join(PROJECT, path), 'utf8');
    for (const [, code = ''] of text.matchAll(/new TransferError\(\s*'([\w-]+)'/g)) {
      // Nobody hears of a connection that was cut.
      assert(STATUS_OF_CODE.has(code) || code === 'connection-failed', `${path}: ${code}`);
    }
  }
});

const TABLES_OF_LIMITS = [
  'PROTOCOL.md',
  'SECURITY.md',
  'docs/reference/limits.md',
  'docs/design/outages.md',
] as const;

test('the limits in the documents are those of the code, and no shared one is left out', async () => {
  const named = new Set<string>();
  for (const path of TABLES_OF_LIMITS) {
    const rows = rowsOf(await readDocument(path), 'name').filter((cells) => cells.length === 4);
    assert(rows.length >= 15, `${path}: ${rows.length} limits`);
    for (const [cell, value = '', file] of rows) {
      const name = codeIn(cell);
      assert.equal(await valueOf(name, codeIn(file)), parseValue(name, value), `${path}: ${name}: ${value}`);
      named.add(name);
    }
  }
  const shared = Object.keys({ ...protocol, ...geometry }).filter((name) => /_(MAX|MIN|DEFAULT)$/.test(name));
  assert(shared.length > 5);
  for (const name of shared) assert(named.has(name), name);
});

test('SECURITY.md has no figure that is not in its table of limits', () => {
  const prose = SECURITY.replace(/^## Limits\n[\s\S]*?(?=^## )/m, '');
  assert.notEqual(prose, SECURITY);
  const unit = String.raw`(ms|s|seconds?|minutes?|hours?|days?|[KMGT]i?B|bytes|connections)\b`;
  const figure = new RegExp(String.raw`\b(\d+|two|three|four|five|ten|thirty|sixty) ${unit}`, 'g');
  assert.deepEqual([...prose.matchAll(figure)].map(String), []);
});

test('README.md fits 200 lines and ARCHITECTURE.md 150', () => {
  const lines = (text: string): number => text.trimEnd().split('\n').length;
  assert(lines(README) <= 200, `README.md has ${lines(README)} lines`);
  assert(lines(ARCHITECTURE) <= 150, `ARCHITECTURE.md has ${lines(ARCHITECTURE)} lines`);
});

test('the two commands that a newcomer types stand in README.md on a line of their own', async () => {
  const lines = README.split('\n');
  assert(lines.includes('npm ci && npm run demo') && lines.includes('npm ci && npm test'));
  const ci = await readDocument('.ci/run');
  assert(ci.split('\n').includes('npm ci && npm test'));
});

test('the map of ARCHITECTURE.md has every folder of the table of arrows, and no others', () => {
  const mapped = rowsOf(ARCHITECTURE, 'folder').map(([folder]) => codeIn(folder));
  const product = mapped.filter((folder) => !['scripts', 'test'].includes(folder));
  assert.deepEqual(product.toSorted(), Object.keys(ARROWS).toSorted());
});

test('no arrow between folders points up the map of ARCHITECTURE.md', () => {
  const mapped = rowsOf(ARCHITECTURE, 'folder').map(([folder]) => codeIn(folder));
  for (const [folder, below] of Object.entries(ARROWS)) {
    for (const other of below) {
      assert(mapped.indexOf(folder) < mapped.indexOf(other), `${folder} → ${other}`);
    }
  }
});

test('the glossary has the words of the code in about 20 lines', () => {
  const words = rowsOf(ARCHITECTURE, 'word').flatMap(([word = '']) => word.split(', '));
  assert(words.length >= 20 && words.length <= 30 && new Set(words).size === words.length);
  const wanted =
    'source target block geometry digest root journal transfer ticket token lane attempt epoch generation ' +
    `${protocol.BLOCK_STATES.join(' ')} sealed response receipt`;
  for (const word of wanted.split(' ')) assert(words.includes(word), word);
});

/** As GitHub makes them of headings. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-');
}

/** The links of a document that do not leave the project. */
async function linksOf(path: string): Promise<{ file: string; heading: string | undefined }[]> {
  const text = (await readDocument(path)).replaceAll(/^```[\s\S]*?^```/gm, '');
  return [...text.matchAll(/\]\(([^)#:]*)(?:#([^)]+))?\)/g)].map(([, to = '', heading]) => ({
    file: to === '' ? path : join(dirname(path), to),
    heading,
  }));
}

test('links between the documents lead to files and headings that exist', async () => {
  for (const path of await allDocuments()) {
    for (const { file, heading } of await linksOf(path)) {
      await assert.doesNotReject(access(join(PROJECT, file)), `${path}: ${file}`);
      if (heading === undefined) continue;
      const headings = [1, 2, 3].map(async (level) => headingsOf(await readDocument(file), level));
      const anchors = (await Promise.all(headings)).flat().map(anchorOf);
      assert(anchors.includes(heading), `${path}: ${file}#${heading}`);
    }
  }
});

test('every document can be reached from README.md', async () => {
  const reached = new Set<string>();
  const walk = async (path: string): Promise<void> => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const { file } of await linksOf(path)) if (file.endsWith('.md')) await walk(file);
  };
  await walk('README.md');
  assert.deepEqual(
    (await allDocuments()).filter((path) => !reached.has(path)),
    [],
  );
});

test('files and scripts that the documents name exist', async () => {
  const { scripts } = JSON.parse(await readDocument('package.json')) as { scripts: Record<string, string> };
  for (const path of await allDocuments()) {
    const text = await readDocument(path);
    for (const [, name = ''] of text.matchAll(
      /[`/ ]((?:common|sender|receiver|fleet|test|scripts)\/[\w./-]*\w)(?=[`/ ])/g,
    )) {
      await assert.doesNotReject(access(join(PROJECT, name)), `${path}: ${name}`);
    }
    for (const [, script = ''] of text.matchAll(/\bnpm run ([\w:]+)/g)) {
      assert(script in scripts, `${path}: npm run ${script}`);
    }
  }
});

test('decisions are numbered without a gap, dated, of one form, and listed', async () => {
  const folder = 'docs/decisions';
  const records = (await allDocuments()).filter((path) => path.startsWith(`${folder}/0`));
  const listed = rowsOf(await readDocument(`${folder}/README.md`), 'number');
  assert(records.length > 20 && listed.length === records.length);
  for (const [at, path] of records.entries()) {
    const number = String(at + 1).padStart(4, '0');
    const text = await readDocument(path);
    const [, title = '', date = ''] = /^# \d+\. (.*)\n\nDate: (\d{4}-\d\d-\d\d)\n/.exec(text) ?? [];
    assert(path.startsWith(`${folder}/${number}-`) && text.startsWith(`# ${at + 1}. `), path);
    assert.deepEqual(headingsOf(text, 2), ['Context', 'Decision', 'Consequences'], path);
    assert.deepEqual(listed[at], [`[${number}](${path.slice(folder.length + 1)})`, date, title]);
  }
});

/** All that the product can print, with messages that are split over lines joined. */
async function productText(): Promise<string> {
  const paths = glob(['{common,sender,receiver,fleet}/**/*.ts', 'scripts/*.sh'], { cwd: PROJECT });
  let text = '';
  for await (const path of paths) text += await readFile(join(PROJECT, path), 'utf8');
  return text.replaceAll(/['"`] \+\s*['"`]/g, '').replaceAll(/\s+/g, ' ');
}

test('the messages that the reference explains are those of the product', async () => {
  const product = await productText();
  const messages = rowsOf(await readDocument('docs/reference/messages.md'), 'message');
  assert(messages.length > 30);
  for (const [cell] of messages) {
    const parts = codeIn(cell)
      .split(/…|: |^standard input /)
      .map((part) => part.trim());
    for (const part of parts.filter(({ length }) => length > 8)) {
      assert(product.includes(part), `${cell}: ${part}`);
    }
  }
});
