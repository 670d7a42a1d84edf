/** Skipped tests are counted, explained, and failures where all are required. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { allPackages, missingTools, notApplicable, notWorking, unlessInstalled } from './requires.ts';
import { run } from './run.ts';
import { skipLines } from './skip-report.ts';
import { tempDir } from './temp-dir.ts';

const PROJECT = resolve(import.meta.dirname, '../..');
const SKIPPED = [
  { name: 'one', file: 'test/a.test.ts', reason: 'needs root' },
  { name: 'two', file: 'test/a.test.ts', reason: 'needs root' },
  { name: 'three', file: 'test/b.test.ts', reason: 'not installed: strace, sgdisk' },
  { name: 'four', file: 'test/b.test.ts', reason: notApplicable('all memory is large') },
  { name: 'five', file: 'test/b.test.ts', reason: notWorking('FUSE', ' no device\n') },
];

test('skipped tests are counted by reason, with the command that lets them run', () => {
  assert.deepEqual(skipLines(SKIPPED, false), [
    '5 tests or groups of tests were skipped:',
    '  2  needs root',
    '  1  not installed: strace, sgdisk',
    '  1  not applicable here: all memory is large',
    '  1  FUSE does not work here: no device',
    'to run them, as root: apt-get install gdisk strace && npm test',
  ]);
  assert.deepEqual(skipLines([], true), []);
  const [, , , notHere, noFuse] = SKIPPED;
  assert(notHere !== undefined && noFuse !== undefined);
  assert.equal(skipLines([notHere], true).length, 2);
  assert.deepEqual(skipLines([noFuse], true).slice(2), [
    'FAILED: DDT_REQUIRE_ALL=1 allows no skipped tests, and these were skipped:',
    '  test/b.test.ts: five: FUSE does not work here: no device',
  ]);
});

test('the runner ends with its own summary; a skipped test fails it only in CI', async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'skipping.test.mjs');
  const skipping = (reason: string): string =>
    `import { test } from 'node:test'; test('a', { skip: '${reason}' }, () => {}); test('b', () => {});`;
  const runTests = async (isAllRequired: boolean): Promise<[number | null, string]> => {
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined, DDT_REQUIRE_ALL: isAllRequired ? '1' : '0' };
    const command = [join(PROJECT, 'scripts/run-tests.ts'), file];
    const { status, stdout } = await run(process.execPath, command, { env });
    return [status, stdout];
  };
  await writeFile(file, skipping('needs root'));
  const [status, stdout] = await runTests(false);
  assert.equal(status, 0, stdout);
  const ours = /skipped:\n.* 1 {2}needs root\n.* as root: npm test\n.* tests 2\n/;
  assert.match(stdout, ours);
  assert.match(stdout.slice(stdout.search(ours)), / skipped 1\n.* todo 0\n.* duration_ms [\d.]+\n$/);
  const [statusOfAll, stdoutOfAll] = await runTests(true);
  assert.equal(statusOfAll, 1, stdoutOfAll);
  assert(stdoutOfAll.includes(`${file}: a: needs root\n`), stdoutOfAll);
  await writeFile(file, skipping(notApplicable('x')));
  assert.equal((await runTests(true))[0], 0);
  await writeFile(file, "import { test } from 'node:test'; test('a', () => { throw new Error('x'); });");
  assert.equal((await runTests(false))[0], 1);
});

test('a program that is not installed is missing, one that is installed is not', async () => {
  assert.deepEqual(missingTools('script'), []);
  await using folder = await tempDir();
  const path = process.env['PATH'];
  process.env['PATH'] = folder.path;
  try {
    assert.equal(unlessInstalled('b3sum', 'tmux'), 'not installed: b3sum, tmux');
  } finally {
    process.env['PATH'] = path;
  }
});

test('CI installs every package that a test can ask for', async () => {
  const words = new Set((await readFile(join(PROJECT, '.ci/run'), 'utf8')).split(/\s+/));
  assert.deepEqual(
    allPackages().filter((name) => !words.has(name)),
    [],
  );
});
