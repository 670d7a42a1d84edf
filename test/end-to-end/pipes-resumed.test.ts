import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertFailed, endInput, pipeInto, startOnInput, writeInput } from '../support/pipelines.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  startReceiver,
  until,
  type Receiver,
} from '../support/processes.ts';
import type { Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = 64 * KIB;
const SIZE = 4 * MIB + 321;
const BLOCKS = 65;

interface Scene extends AsyncDisposable {
  readonly source: string;
  readonly bytes: Buffer;
  readonly target: string;
  readonly receiver: Receiver;
  readonly sender: Started;
}

/** A sender that has read a part of the source, of which some blocks are durable. */
async function scene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  const bytes = prng(seed).bytes(SIZE);
  await writeFile(source, bytes);
  const receiver = stack.use(await startReceiver({ folder: folder.path, target }));
  const sender = stack.use(await startOnInput(receiver));
  await writeInput(sender, bytes.subarray(0, 2 * MIB + 5));
  await until('blocks to be durable', async () => (await receiver.durableCount()) > 16);
  const owned = stack.move();
  return {
    source,
    bytes,
    target,
    receiver,
    sender,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** Writes the rest of the source; the sender has to succeed. */
async function finish(the: Scene): Promise<ReturnType<typeof doneOf>> {
  await writeInput(the.sender, the.bytes.subarray(2 * MIB + 5));
  await endInput(the.sender);
  const done = doneOf(await bounded('the sender to end', the.sender.ended));
  assert.equal((await stat(the.target)).size, SIZE);
  await assertEqualFiles(the.source, the.target);
  return done;
}

test('a receiver that is killed and restarted costs the pipe nothing', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using the = await scene();
  const { sizeMax } = await the.receiver.status();
  await the.receiver.end('SIGKILL');
  await the.receiver.start();
  assert.match(
    the.receiver.process.stdout,
    /^journal {2}\S+ \(NOT FINISHED: size not known yet, \d+ blocks/m,
  );
  const status = await the.receiver.status();
  assert.deepEqual([status.size, status.sizeMax], [null, sizeMax], 'the maximum is that of the first claim');
  const done = await finish(the);
  assert.equal(done.blocksTotal, BLOCKS);
});

test('with memory for two blocks the sender requests flushes, and resumes after a kill', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, prng(seed).bytes(56 * MIB + 1));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const twoBlocks = ['--memory', '16MiB', '--block-size', '8MiB', '--connections', '4'];
  const sending = pipeInto(receiver, 'cat "$0"', source, ...twoBlocks);
  await until('blocks to be durable', async () => (await receiver.durableCount()) > 0);
  await receiver.end('SIGKILL');
  await receiver.start();
  const done = doneOf(await bounded('the sender to end', sending, 60_000));
  assert.deepEqual([done.blocksTotal, done.blocksSent], [8, 8]);
  await assertEqualFiles(source, target);
});

test('a sender that is killed resumes with the same pipe: durable blocks are read and skipped', async () => {
  await using the = await scene();
  the.sender.kill('SIGKILL');
  await the.sender.ended;
  const before = await the.receiver.durableCount();
  const done = doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source));
  assert(done.blocksSkipped >= before, `${before} were there, ${done.blocksSkipped} were skipped`);
  assert.equal(done.blocksSent + done.blocksSkipped, BLOCKS);
  assert(done.bytesWire < (BLOCKS - before) * BLOCK + 200 * KIB, `${done.bytesWire} bytes`);
  await assertEqualFiles(the.source, the.target);
});

test('changed content of the pipe is sent; an end before durable blocks is refused', async () => {
  await using the = await scene();
  the.sender.kill('SIGKILL');
  await the.sender.ended;
  const short = assertFailed(
    await pipeInto(the.receiver, 'head -c 65536 "$0"', the.source),
    4,
    'transfer-mismatch',
  );
  assert.match(short, /its source has at least \d+ bytes \(.*\), this one has 65536;.*--discard-transfer/);
  assert.equal((await the.receiver.status()).size, null);
  the.bytes.fill(7, 0, 100);
  await writeFile(the.source, the.bytes);
  doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source));
  await assertEqualFiles(the.source, the.target);
});

test('once the size is fixed, a pipe of another length is refused, naming both lengths', async () => {
  await using the = await scene();
  the.sender.kill('SIGKILL');
  await the.sender.ended;
  const source = { description: 'by hand' };
  const { digest } = await the.receiver.status();
  const claim = { size: SIZE, blockSize: BLOCK, source, stream: true, digest };
  const fixing = await the.receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  assert.equal(fixing.status, 200, fixing.body.toString('utf8'));
  assert.equal((await stat(the.target)).size, SIZE);
  const shorter = await pipeInto(the.receiver, 'head -c 4000000 "$0"', the.source);
  assert.match(
    assertFailed(shorter, 4, 'transfer-mismatch'),
    /ended after 4000000 bytes \(3\.8 MiB\), but the source of this transfer has 4194625 bytes \(4\.0 MiB\)/,
  );
  const longer = await pipeInto(the.receiver, 'cat "$0"; echo', the.source);
  assert.match(
    assertFailed(longer, 4, 'transfer-mismatch'),
    /continues after the 4194625 bytes \(4\.0 MiB\) that the source of this transfer has/,
  );
  doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source));
  await assertEqualFiles(the.source, the.target);
});

test('once sealed, the same pipe is compared, and what differs in another one is reported', async () => {
  await using the = await scene();
  await finish(the);
  const again = doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source));
  assert.deepEqual([again.blocksSent, again.blocksSkipped], [0, BLOCKS]);
  const other = await pipeInto(the.receiver, 'tr a b <"$0"', the.source);
  assert.equal(other.status, 3, other.stderr);
  assert.match(other.stdout, /"event":"compared","isEqual":false,"state":"sealed"/);
  await assertEqualFiles(the.source, the.target);
});

test('Ctrl-C while the pipe is silent ends at once with 130', async () => {
  await using the = await scene();
  the.sender.kill('SIGINT');
  const ended = await bounded('the sender to end', the.sender.ended, 5000);
  assertFailed(ended, 130, 'interrupted');
});

test('an endless producer is stopped when the sender refuses', async () => {
  await using the = await scene();
  the.sender.kill('SIGKILL');
  await the.sender.ended;
  const endless = await pipeInto(the.receiver, 'yes', the.source, '--source-size', '1MiB');
  assertFailed(endless, 4, 'transfer-mismatch');
});
