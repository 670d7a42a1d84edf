/** The question before content is overwritten: asked on a terminal, here script(1)'s, and nowhere else. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  MIB,
  PROGRAMS,
  type Receiver,
  assertEqualFiles,
  bounded,
  environment,
  runSender,
  sha256sum,
  startReceiver,
  until,
} from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { start, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessInstalled('script');

interface Scene extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
}

/** A target file with something in it, or without. */
async function makeScene(content: string): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, Buffer.alloc(MIB, 1));
  await writeFile(target, content);
  const options = ['--overwrite-target'];
  const receiver = stack.use(await startReceiver({ folder: folder.path, target, options }));
  const owned = stack.move();
  return { source, target, receiver, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

/** `ddt-send` on a terminal of its own. @param keys typed when it asks; undefined when it should not ask. */
async function runOnTerminal({ source, receiver }: Scene, keys?: string, more = ''): Promise<Ended> {
  const command = `'${PROGRAMS}/ddt-send' ${more} --ticket-file '${receiver.ticketFile}' '${source}'`;
  await using terminal = await start('script', ['-qec', command, '/dev/null'], { env: environment() });
  if (keys !== undefined) {
    await until('the question', () => terminal.stdout.includes('[y/N] '));
    terminal.stdin.write(keys);
  }
  return await bounded('the sender to end', terminal.ended);
}

const QUESTION = /overwrite all of \S+target at 127\.\S+\? \[y\/N\] /;

test('yes starts the copy, and the next run does not ask again', { skip }, async () => {
  await using scene = await makeScene('a letter');
  const ended = await runOnTerminal(scene, 'y\n');
  assert.equal(ended.status, 0, ended.stdout);
  assert.match(ended.stdout, QUESTION);
  assert.match(ended.stdout, /^target .*, holds a regular file of 8 bytes; new transfer\r$/m);
  await assertEqualFiles(scene.source, scene.target);
  const again = await runOnTerminal(scene);
  assert.equal(again.status, 0, again.stdout);
  assert.doesNotMatch(again.stdout, QUESTION);
});

for (const [keys, what] of [
  ['n\n', 'no'],
  ['\n', 'an empty line'],
  ['yesterday\n', 'another word'],
  ['\u0004', 'the end of the input'],
] as const) {
  test(`${what} does not count as yes: status 4, nothing claimed, nothing written`, { skip }, async () => {
    await using scene = await makeScene('a letter');
    const before = await sha256sum(scene.target);
    const ended = await runOnTerminal(scene, keys);
    assert.equal(ended.status, 4, ended.stdout);
    assert.match(
      ended.stdout,
      /ddt-send: error: nothing was written to \S+ at \S+: the answer was not yes\r$/m,
    );
    assert.equal((await scene.receiver.status()).state, 'unclaimed');
    assert.equal(await sha256sum(scene.target), before);
  });
}

test('Ctrl-C at the question ends with 130, and nothing is claimed', { skip }, async () => {
  await using scene = await makeScene('a letter');
  const ended = await runOnTerminal(scene, '\u0003');
  assert.equal(ended.status, 130, ended.stdout);
  assert.match(ended.stdout, /ddt-send: error: interrupted\r$/m);
  assert.equal((await scene.receiver.status()).state, 'unclaimed');
});

test('there is no question with --yes, for an empty target, or without a terminal', { skip }, async () => {
  await using agreed = await makeScene('a letter');
  await using empty = await makeScene('');
  for (const ended of [await runOnTerminal(agreed, undefined, '--yes'), await runOnTerminal(empty)]) {
    assert.equal(ended.status, 0, ended.stdout);
    assert.doesNotMatch(ended.stdout, QUESTION);
  }
  await using scene = await makeScene('a letter');
  const ended = await runSender(['--ticket-file', scene.receiver.ticketFile, scene.source]);
  assert.equal(ended.status, 0, ended.stderr);
  assert.match(ended.stderr, /^target .*, holds a regular file of 8 bytes; new transfer$/m);
});
