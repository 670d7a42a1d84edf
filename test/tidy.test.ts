/** Applies the rules of this code base, and checks that the rules find what they are for. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { plainEnglish, QUAINT } from './support/plain-english.ts';
import { importsOf, maskOf, wordsOf } from './support/source-text.ts';
import {
  ARROWS,
  RULES,
  arrowCircles,
  lockfileHosts,
  unusedArrows,
  unusedFiles,
  type Rule,
  type SourceFile,
} from './support/tidy-rules.ts';

const PROJECT = join(import.meta.dirname, '..');

async function readFiles(...patterns: readonly string[]): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for await (const path of glob(patterns, { cwd: PROJECT })) {
    files.push({ path, text: await readFile(join(PROJECT, path), 'utf8') });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function projectFiles(): Promise<SourceFile[]> {
  return await readFiles('{common,sender,receiver,fleet,scripts,test}/**/*.ts');
}

/** Rules of language, which hold for the documents too. */
const PROSE_RULES: Readonly<Record<string, Rule>> = { plainEnglish };

/** Braces in strings, templates, comments and regular expressions, which are not blocks. */
const CONFUSING = `
const a = '{{{' + "}" + \`{\${b ? \`}\${c({ d: '{' })}{\` : '}'}}\`; // {{{
const e = /[/{]\\/{/.test(f) ? g / 2 : h / 3; /* { */ const i = '\\'{';
`;
const linesOf = (count: number, line = 'step();'): string => `${line}\n`.repeat(count);

/** Rule, path, what breaks the rule, what looks as if it did. */
const CASES: readonly (readonly [string, string, string, string])[] = [
  ['fileLength', 'common/x.ts', linesOf(401), linesOf(400)],
  ['lineLength', 'common/x.ts', `// ${'–'.repeat(108)}`, `// ${'–'.repeat(107)}`],
  [
    'functionLength',
    'common/x.ts',
    `function f(): 'a' {\n${linesOf(69)}}`,
    `function f() {\n${linesOf(68)}}`,
  ],
  [
    'functionLength',
    'common/x.ts',
    `const f = async () => {\n${linesOf(69)}};`,
    `const o = {\n${linesOf(99)}};`,
  ],
  [
    'functionLength',
    'common/x.ts',
    `class A<T> extends B {\n  m(a: { b: 1 }): Promise<{ c: 1 }> {\n${CONFUSING}${linesOf(69)}}\n}`,
    `class A extends B {\n${linesOf(40, 'm(): void {\n}')}}\ninterface I {\n${linesOf(99, 'a: 1;')}}`,
  ],
  [
    'importLaw',
    'sender/x.ts',
    "import { a } from '../receiver/a.ts';",
    "import { a } from '../common/a.ts';",
  ],
  ['importLaw', 'receiver/x.ts', "export type { a } from '../sender/a.ts';", "import { a } from './a.ts';"],
  ['importLaw', 'common/x.ts', "await import('../sender/a.ts');", "// from '../sender/a.ts'"],
  ['importLaw', 'receiver/x.ts', "import '../test/a.ts';", 'const a = "import \'../test/a.ts\'";'],
  ['importLaw', 'sender/x.ts', "import { a } from '../scripts/a.ts';", "import { a } from 'node:fs';"],
  ['importLaw', 'sender/client/x.ts', "import '../lanes/a.ts';", "import '../bandwidth/a.ts';"],
  ['importLaw', 'receiver/target/x.ts', "import '../journal/a.ts';", "import '../../common/io/a.ts';"],
  ['importLaw', 'receiver/new/x.ts', "import { a } from '../../common/a.ts';", ''],
  ['importLaw', 'common/io/x.ts', "import { a } from '../disk/a.ts';", "import { a } from '../errors.ts';"],
  ['packageHomes', 'sender/send.ts', "import { Client } from 'undici';", "import { open } from 'node:fs';"],
  ['packageHomes', 'receiver/x.ts', "import { d } from 'node:sqlite';", "import { d } from './journal.ts';"],
  ['packageHomes', 'receiver/x.ts', "import { h } from 'hono/cors';", "// import 'hono'"],
  ['packageHomes', 'receiver/x.ts', "import { X } from '@peculiar/x509';", "import { X } from './x509.ts';"],
  ['packageHomes', 'common/x.ts', "import fc from 'fast-check';", "import assert from 'node:assert';"],
  [
    'soleImporters',
    'sender/preflight/x.ts',
    "import { DiskSource } from '../source/disk-source.ts';",
    "import type { Source } from '../source/source.ts';",
  ],
  ['soleCallers', 'sender/cli.ts', 'process.exit(2);', 'process.exitCode = 2; // process.exit'],
  ['soleCallers', 'receiver/x.ts', 'new WebAssembly.Memory({ initial: 1 });', "'new WebAssembly.Memory'"],
  ['soleCallers', 'receiver/x.ts', 'await this.#target.flush();', 'await this.#durability.flush();'],
  ['soleCallers', 'receiver/x.ts', 'const at = Date.now();', 'const at = clock.wallMs();'],
  ['soleCallers', 'sender/x.ts', 'const at = new Date();', 'const at = new Date(clock.wallMs());'],
  ['soleCallers', 'test/x.test.ts', 'if (Math.random() < 0.5) {}', 'if (random.below(2) === 0) {}'],
  ['soleCallers', 'sender/x.ts', "console.log('x');", 'consoleOf(x);'],
  ['bannedWords', 'sender/x.ts', 'let srcPath: string;', 'let sourcePath: string; // the source'],
  ['bannedWords', 'sender/x.ts', 'copy({ from, DST });', "say('src dst');"],
  ['bannedWords', 'sender/x.ts', 'let a; // the dest of it', 'let a; // destroys it'],
  ['bannedWords', 'sender/x.ts', '/* TODO: more */', '/* to do */'],
  ['bannedWords', 'sender/x.ts', '// FIXME', '// fixed'],
  ['bannedWords', 'sender/x.ts', 'class UploadedBlock {}', 'class Block {} // no upload'],
  ['exportsByName', 'sender/x.ts', 'export default function f() {}', 'export function f() {}'],
  ['exportsByName', 'sender/x.ts', 'export { f as default };', 'const { default: f } = g;'],
  ['moduleState', 'common/x.ts', 'export let count = 0;', 'function f() {\n  let count = 0;\n}'],
  ['plainEnglish', 'sender/x.ts', '/** It\n * goes\n * on. */', 'const told = goes.on; // is resumed'],
  ['plainEnglish', 'sender/x.ts', 'fail(`${a} was told`);', 'fail(`${told} was said`);'],
  ['plainEnglish', 'docs/x.md', 'The transfer goes\non.', '## Where time goes\n\nOn a slow line …'],
  ['plainEnglish', 'scripts/x.ts', '// Else it fails', '// Something else fails'],
  ['fileNames', 'common/utils.ts', '', ''],
  ['fileNames', 'sender/index.ts', '', ''],
  ['fileNames', 'test/sendBlock.test.ts', '', ''],
];

test('each rule finds what breaks it, and nothing in what only looks as if it did', () => {
  const rules: Readonly<Record<string, Rule>> = { ...RULES, plainEnglish };
  for (const [name, path, breaking, innocent] of CASES) {
    const rule = rules[name];
    assert(rule !== undefined, name);
    const found = rule({ path, text: breaking });
    assert.equal(found.length, 1, `${name} in ${breaking}: ${found.join()}`);
    assert.match(found[0] ?? '', new RegExp(`^${path}:[0-9]+: .`));
    const innocentPath = innocent === '' ? 'common/block-set.ts' : path;
    assert.deepEqual(rule({ path: innocentPath, text: innocent }), [], `${name} in ${innocent}`);
  }
  const untried = Object.keys(rules).filter((name) => !CASES.some((each) => each[0] === name));
  assert.deepEqual(untried, []);
});

test('homes and sole callers may do what others may not', () => {
  for (const [name, path, text] of [
    ['packageHomes', 'sender/client/connection/connector.ts', "import { buildConnector } from 'undici';"],
    ['packageHomes', 'receiver/http/transfer-routes.ts', "import type { Context } from 'hono';"],
    ['packageHomes', 'test/x.test.ts', "import fc from 'fast-check';"],
    ['soleImporters', 'sender/open-source.ts', "import './source/standard-input.ts';"],
    ['soleImporters', 'test/x.test.ts', "import '../sender/source/disk-source.ts';"],
    ['soleCallers', 'receiver/main.ts', 'process.exit(2);'],
    ['soleCallers', 'common/io/buffers.ts', 'new WebAssembly.Memory({ initial: 1 });'],
    ['soleCallers', 'receiver/durability/durability.ts', 'await this.#target.flush();'],
    ['soleCallers', 'common/clock.ts', 'Date.now(); Math.random();'],
    ['importLaw', 'test/x.test.ts', "import '../receiver/a.ts'; import '../sender/a.ts';"],
    ['bannedWords', 'sender/client/http-receiver.ts', 'connect({ maxCachedSessions: 0 });'],
  ] as const) {
    assert.deepEqual(RULES[name]?.({ path, text }), [], `${name} in ${path}`);
  }
});

test('text is distinguished from code in strings, templates, comments and regular expressions', () => {
  const { code, comments, strings } = maskOf(CONFUSING);
  assert.equal(code.length, CONFUSING.length);
  assert.equal(code.match(/\{/g)?.length, code.match(/\}/g)?.length);
  assert.deepEqual(code.match(/[a-z]+/g), [
    'const',
    'a',
    'b',
    'c',
    'd',
    'const',
    'e',
    'test',
    'f',
    'g',
    'h',
    'const',
    'i',
  ]);
  assert.equal(comments.replace(/\s+/g, ' '), ' // {{{ /* { */ ');
  assert.equal(strings.replace(/\s+/g, ' '), " {{{ } {$ }$ { { } } [/{]\\/{ \\'{ ");
  const imports =
    "import a, { type b } from './a.ts';\nexport * from \"./c.ts\";\nimport('node:fs'); // from 'x'\n";
  assert.deepEqual(
    importsOf(imports).map((each) => each.specifier),
    ['./a.ts', './c.ts', 'node:fs'],
  );
  assert.deepEqual(wordsOf('HTTPServer_sizeBytesMax2'), ['http', 'server', 'size', 'bytes', 'max2']);
});

test('a file of the product that only tests import is found', () => {
  const files = [
    { path: 'sender/main.ts', text: "import '../common/used.ts';" },
    { path: 'common/used.ts', text: '' },
    { path: 'common/unused.ts', text: '' },
    { path: 'test/unused.test.ts', text: "import '../common/unused.ts';" },
  ];
  assert.deepEqual(unusedFiles(files), ['common/unused.ts:1: only tests import it']);
});

test('the table of arrows has no circle and no unused arrow', async () => {
  assert.deepEqual(arrowCircles({ a: ['b'], b: ['c', 'd'], c: ['a'], d: [] }), ['a → b → c → a']);
  assert.deepEqual(arrowCircles(ARROWS), []);
  assert.deepEqual(unusedArrows(await projectFiles()), []);
  assert(unusedArrows([]).length > 10);
});

test('the address of a registry in the lockfile is found', () => {
  assert.equal(lockfileHosts('"resolved": "x"').length, 1);
  assert.equal(lockfileHosts('"url": "http://registry.local/x.tgz"').length, 1);
  assert.deepEqual(lockfileHosts('"url": "https://github.com/sponsors/x"'), []);
});

test('every quaint phrase is found, and plain English is not', () => {
  const quaint = [
    'it is told the size',
    'the log tells of it',
    'the same command goes on',
    'the transfer begins anew',
    'DELETE is not possible here',
    'whoever has the ticket',
    'what could not be read becomes zeros',
    'the flush that is under way',
    'writes in hand',
    'the copy is of no one moment',
    'from now on it waits',
    'wait so long',
    'nothing moves on any connection',
    'it is there, just like that',
    'end what uses it',
    'all connections that there are',
    'what stands on the target',
    'it is sent all the same',
    'no port was to be had',
    'a block that was mended',
    'pieces of a body',
    'it keeps pace',
    'this is no failure',
    'Else the block is lost',
    'a short write is taken for a whole one',
    'an error takes back the blocks',
    'it waits for ever',
    'the copy is spoilt',
    'lest it be lost',
    'the digest thereof',
    'in the midst of a block',
    'rounds in turns',
    'nobody hears of it',
    'the script as it stands',
  ];
  const findingsOf = (text: string): string[] => plainEnglish({ path: 'common/x.ts', text: `// ${text}` });
  for (const phrase of quaint) assert.equal(findingsOf(phrase).length, 1, phrase);
  const unused = QUAINT.filter(([pattern]) => !quaint.some((phrase) => pattern.test(phrase)));
  assert.deepEqual(unused, []);
  for (const phrase of [
    'run the same command again to resume',
    'turn on the option on the source',
    'there is no journal, and it is no\n// longer needed',
    'it warns that there is no space',
    'as long as the flush is running',
    'something else fails',
    'recommended and amended',
  ]) {
    assert.deepEqual(findingsOf(phrase), [], phrase);
  }
});

for (const [name, rule] of Object.entries(PROSE_RULES)) {
  test(`product, scripts and documents keep the rule ${name}`, async () => {
    const files = await readFiles('{common,sender,receiver,fleet,scripts}/**/*.ts', '*.md', 'docs/**/*.md');
    assert.deepEqual(files.flatMap(rule), []);
  });
}

for (const [name, rule] of Object.entries(RULES)) {
  test(`the project keeps the rule ${name}`, async () => {
    const files = await projectFiles();
    assert(files.length > 10);
    assert.deepEqual(files.flatMap(rule), []);
  });
}

test('every file of the product is imported by code that runs', async () => {
  assert.deepEqual(unusedFiles(await projectFiles()), []);
});

test('the lockfile names no registry', async () => {
  assert.deepEqual(lockfileHosts(await readFile(join(PROJECT, 'package-lock.json'), 'utf8')), []);
});
