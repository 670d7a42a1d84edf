import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  type Receiver,
  assertEqualFiles,
  bounded,
  doneOf,
  runSender,
  sendAll,
  sha256sum,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
} from '../support/processes.ts';
import { progressEventsOf } from '../support/progress-events.ts';
import { Relay } from '../support/relay.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK_BYTES = 65_536;
const JSON_BLOCKS = ['--progress', 'json', '--block-size', '64KiB'];

interface Scene extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  /** The line that the next arguments of `slowly` lead through. */
  readonly relay: Relay;
  /** Arguments of a sender that takes some seconds, or until the line is released. */
  readonly slowly: readonly string[];
  /** Arguments of a fast sender. */
  readonly directly: readonly string[];
}

/** A source of some MiB, a receiver, and a slow line between them. */
async function makeScene(sizeBytes: number, holdAtBytes = Infinity): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, prng(seed).bytes(sizeBytes));
  const receiver = stack.use(await startReceiver({ folder: folder.path, target }));
  const relay = stack.use(await Relay.start({ to: receiver, bytesPerSecond: 4 * MIB, holdAtBytes }));
  const slowTicket = await writeTicketVia(receiver, relay, join(folder.path, 'via'));
  const owned = stack.move();
  return {
    source,
    target,
    receiver,
    relay,
    slowly: [...JSON_BLOCKS, '--ticket-file', slowTicket, source],
    directly: ['--ticket-file', receiver.ticketFile, source],
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** Changes one byte. */
async function changeByte(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, offset);
}

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} ends a sender with ${status}, and the same command resumes`, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using scene = await makeScene(8 * MIB, 4 * MIB);
    await using sender = await startSender(scene.slowly);
    await until('blocks to be durable', async () => (await scene.receiver.durableCount()) > 0);
    sender.kill(signal);
    const ended = await bounded('the sender to end', sender.ended);
    assert.equal(ended.status, status, ended.stderr);
    assert.match(ended.stderr, /^ddt-send: hint: run the same command again to resume$/m);
    const events = progressEventsOf(ended.stdout).filter(({ event }) => event !== 'progress');
    assert.deepEqual(
      events.map(({ event, code }) => [event, code]),
      [['failed', 'interrupted']],
    );
    scene.relay.release();
    const before = await scene.receiver.durableCount();
    const done = await sendAll(...scene.directly);
    assert(done.blocksSkipped >= before, `${before} blocks were there, ${done.blocksSkipped} were skipped`);
    assert.equal(done.blocksSent + done.blocksSkipped, 128);
    await assertEqualFiles(scene.source, scene.target);
  });
}

test('a receiver that is stopped ends with 143; the sender waits for it, and finishes', async () => {
  await using scene = await makeScene(8 * MIB);
  const { receiver, relay } = scene;
  await using sender = await startSender(scene.slowly);
  await relay.reach(2 * MIB);
  const ticket = receiver.ticket;
  const ended = await receiver.end('SIGTERM');
  assert.deepEqual([ended.status, ended.signal], [143, null], ended.stderr);
  await sender.waitForLine(/^ddt-send: warning: .*retrying/);
  await receiver.start();
  assert.equal(receiver.ticket, ticket, 'the ticket of the same target stays the same');
  relay.bytesPerSecond = 0;
  doneOf(await bounded('the sender to end', sender.ended));
  await assertEqualFiles(scene.source, scene.target);
  // Only a sealed transfer is left to be stopped.
  assert.equal((await receiver.end('SIGTERM')).status, 0);
});

test('blocks that were durable when both sides were killed are not sent again', async () => {
  await using scene = await makeScene(8 * MIB, 4 * MIB);
  const { receiver } = scene;
  await using sender = await startSender(scene.slowly);
  await until('blocks to be durable', async () => (await receiver.durableCount()) > 0);
  const durable = await receiver.durableCount();
  await receiver.end('SIGKILL');
  sender.kill('SIGKILL');
  await sender.ended;
  await receiver.start();
  assert.match(
    receiver.process.stdout,
    /^journal {2}\S+ \(NOT FINISHED: \d+ of 128 blocks durable; reading them back\)$/m,
  );
  const done = await sendAll(...scene.directly);
  assert(done.blocksSkipped >= durable, `${durable} blocks were durable, ${done.blocksSkipped} were skipped`);
  await assertEqualFiles(scene.source, scene.target);
});

test('a sender that is started before its receiver waits for it', async () => {
  await using scene = await makeScene(MIB);
  await scene.receiver.end('SIGTERM');
  await using sender = await startSender([...JSON_BLOCKS, ...scene.directly]);
  await sender.waitForLine(/^ddt-send: warning: cannot reach the receiver at .*; retrying/);
  await scene.receiver.start();
  doneOf(await bounded('the sender to end', sender.ended));
  await assertEqualFiles(scene.source, scene.target);
});

test('a sender that finds no receiver within --retry-for gives up with status 6', async () => {
  await using scene = await makeScene(MIB);
  await scene.receiver.end('SIGTERM');
  const ended = await runSender(['--retry-for', '2s', '--progress', 'json', ...scene.directly]);
  assert.equal(ended.status, 6, ended.stderr);
  assert.match(ended.stderr, /^ddt-send: error: gave up after \d+ s: /m);
  assert.equal(progressEventsOf(ended.stdout).at(-1)?.['code'], 'no-progress');
});

test('once sealed, the same source is compared and nothing is sent, even after a restart', async () => {
  await using scene = await makeScene(MIB);
  const first = await sendAll(...JSON_BLOCKS, ...scene.directly);
  const again = await sendAll(...scene.directly);
  await scene.receiver.end('SIGKILL');
  await scene.receiver.start();
  const afterRestart = await sendAll(...scene.directly);
  for (const done of [again, afterRestart]) {
    assert.deepEqual([done.blocksSent, done.blocksZero, done.blocksSkipped], [0, 0, first.blocksTotal]);
    assert.equal(done.root, first.root);
  }
});

test('once sealed, changed content of the source is reported, and the target stays unchanged', async () => {
  await using scene = await makeScene(MIB);
  await sendAll(...JSON_BLOCKS, ...scene.directly);
  const before = await sha256sum(scene.target);
  await changeByte(scene.source, 5 * BLOCK_BYTES + 7);
  const ended = await runSender(['--progress', 'json', ...scene.directly]);
  assert.equal(ended.status, 3, ended.stderr);
  const { event, sourceDifferent, targetDifferent } = progressEventsOf(ended.stdout).at(-1) ?? {};
  assert.deepEqual(
    [event, sourceDifferent, targetDifferent],
    ['compared', { count: 1, ranges: [[5, 1]] }, { count: 0, ranges: [] }],
  );
  assert.match(
    ended.stderr,
    /hint: to bring the copy up to date, run 'ddt-receive --update \S+' on the receiver/,
  );
  assert.equal(await sha256sum(scene.target), before);
});

test('blocks that change on the source between two runs are sent again', async () => {
  await using scene = await makeScene(8 * MIB, 6 * MIB);
  await using sender = await startSender(scene.slowly);
  await until('half of it to be durable', async () => (await scene.receiver.durableCount()) >= 64);
  sender.kill('SIGKILL');
  await sender.ended;
  scene.relay.release();
  const missing = 128 - (await scene.receiver.durableCount());
  const changed = [0, 1, 17, 40];
  for (const index of changed) await changeByte(scene.source, index * BLOCK_BYTES + index);
  await changeByte(scene.source, 8 * MIB - 1);
  const done = await sendAll(...scene.directly);
  assert(done.blocksSent >= changed.length && done.blocksSent <= missing + changed.length + 1);
  await assertEqualFiles(scene.source, scene.target);
});
