/** A sealed copy is brought up to date, and old copies are adopted; both sides are killed at every stage. */
import assert from 'node:assert/strict';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { pipeInto, assertFailed } from '../support/pipelines.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  runReceiver,
  runSender,
  sendAll,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = 64 * 1024;
const SMALL = ['--block-size', '64KiB'];

async function changeBlocks(path: string, indexes: readonly number[]): Promise<void> {
  await using file = await open(path, 'r+');
  for (const index of indexes) {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, index * BLOCK + 9);
    await file.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, index * BLOCK + 9);
  }
}

test('a live pass, a sealed copy, an update of what changed on both disks', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(8 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const directly = ['--ticket-file', receiver.ticketFile, source];
  const pass = await runSender(['--keep-open', ...SMALL, ...directly]);
  assert.equal(pass.status, 3, pass.stderr);
  await changeBlocks(source, [1, 2, 100]);
  assert.equal((await sendAll(...directly)).blocksSent, 3);
  await assertEqualFiles(source, target);

  await changeBlocks(source, [7, 8, 9]);
  await changeBlocks(target, [50]);
  assert.equal((await runSender(directly)).status, 3, 'it is sealed');
  await receiver.end('SIGTERM');
  await receiver.start({ options: ['--update'] });
  const receipt = join(folder.path, 'receipt.json');
  assert.equal((await sendAll('--receipt', receipt, ...directly)).blocksSent, 4);
  await assertEqualFiles(source, target);
  const { generation, previous } = JSON.parse(await runOk('cat', [receipt])) as {
    generation: number;
    previous: { generation: number };
  };
  assert.deepEqual([generation, previous.generation], [2, 1]);
  await receiver.end('SIGTERM');
  assert.equal((await runReceiver(['--check-receipt', receipt, target])).status, 0);
});

test('an update is resumed after kill -9 of both sides at every stage', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(16 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const directly = ['--ticket-file', receiver.ticketFile, source];
  await sendAll(...SMALL, ...directly);
  await changeBlocks(
    source,
    Array.from({ length: 128 }, (_, at) => at * 2),
  );
  await receiver.end('SIGKILL');
  // Killed as soon as it listens; the second time without the option.
  await receiver.start({ options: ['--update'] });
  await receiver.end('SIGKILL');
  await receiver.start();
  assert.equal((await receiver.status()).state, 'open');
  for (const side of ['sender', 'receiver'] as const) {
    await using line = await Relay.start({ to: receiver, bytesPerSecond: 4 * MIB });
    const ticket = await writeTicketVia(receiver, line, join(folder.path, 'slow'));
    await using sender = await startSender(['--progress', 'json', '--ticket-file', ticket, source]);
    await sender.waitForLine(/"blocksDurable":[1-9]/);
    if (side === 'receiver') await receiver.end('SIGKILL');
    sender.kill('SIGKILL');
    await bounded('the sender to end', sender.ended);
  }
  await receiver.start();
  await sendAll(...directly);
  await assertEqualFiles(source, target);
  assert.equal((await receiver.status()).generation, 2);
});

test('a source that was resized is followed, but only by an update', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, prng(seed).bytes(4 * MIB + 1000));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const directly = ['--ticket-file', receiver.ticketFile, source];
  await sendAll(...SMALL, ...directly);
  await truncate(source, 6 * MIB);
  const refused = await runSender(['--progress', 'json', ...directly]);
  assertFailed(refused, 4, 'transfer-mismatch');
  for (const size of [6 * MIB, 3 * MIB + 5]) {
    await truncate(source, size);
    await receiver.end('SIGTERM');
    await receiver.start({ options: ['--update'] });
    assert((await sendAll(...directly)).blocksSkipped >= 47);
    await assertEqualFiles(source, target);
  }
});

test(
  'an update from a pipe, or from a source that is too large, is refused, and nothing is lost',
  {
    skip: skipUnlessLoop,
  },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const [source, larger] = [join(folder.path, 'source'), join(folder.path, 'larger')];
    await writeFile(source, prng(seed).bytes(4 * MIB));
    await writeFile(larger, prng(seed).bytes(9 * MIB));
    await using device = await loopDevice(8 * MIB, { directIo: true });
    await using receiver = await startReceiver({ folder: folder.path, target: device.path });
    await sendAll(...SMALL, '--ticket-file', receiver.ticketFile, source);
    await receiver.end('SIGTERM');
    await receiver.start({ options: ['--update'] });
    const refused = await runSender(['--progress', 'json', '--ticket-file', receiver.ticketFile, larger]);
    assertFailed(refused, 4, 'target-too-small');
    const pipe = await pipeInto(receiver, 'cat "$0"', source);
    assertFailed(pipe, 4, 'transfer-mismatch');
    assert.equal((await receiver.status()).state, 'open', 'nothing is lost');
    assert.equal((await sendAll('--ticket-file', receiver.ticketFile, source)).blocksSent, 0);
  },
);

test('a wrong --source-size of a pipe is corrected: what is durable stays', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(4 * MIB + 1000));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const short = await pipeInto(receiver, 'cat "$0"', source, '--source-size', '3MiB');
  assert.match(
    assertFailed(short, 5, 'source-size'),
    /hint: run the same pipe again with the right --source-size/,
  );
  const long = await pipeInto(receiver, 'cat "$0"', source, '--source-size', '5MiB');
  assertFailed(long, 5, 'source-size');
  const unsaid = await pipeInto(receiver, 'cat "$0"', source);
  assert.match(assertFailed(unsaid, 4, 'transfer-mismatch'), /with the right --source-size/);
  const right = String(4 * MIB + 1000);
  assert(doneOf(await pipeInto(receiver, 'cat "$0"', source, '--source-size', right)).blocksSkipped >= 48);
  await assertEqualFiles(source, target);
  const sealed = await pipeInto(receiver, 'cat "$0"', source, '--source-size', '3MiB');
  assertFailed(sealed, 4, 'transfer-mismatch');
});

test('a sender whose transfer is discarded ends with the reason', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(4 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  await using line = await Relay.start({ to: receiver, bytesPerSecond: MIB });
  const ticket = await writeTicketVia(receiver, line, join(folder.path, 'slow'));
  await using sender = await startSender([...SMALL, '--ticket-file', ticket, source]);
  await until('some are durable', async () => (await receiver.durableCount()) > 0);
  await receiver.end('SIGTERM');
  await receiver.start({ options: ['--discard-transfer', '--overwrite-target', '--yes'] });
  const ended = await bounded('the sender to end', sender.ended, 60_000);
  assert.match(
    ended.stderr,
    /error: the receiver says: the ticket is for an earlier transfer to this target, which was discarded/,
  );
});
