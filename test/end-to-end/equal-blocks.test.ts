/** Blocks that are equal travel once: both commands as processes, onto a file and past kills. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  runSender,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
  type Done,
  type Receiver,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = 64 * 1024;
const BLOCKS = 256;
/** 30 % of the blocks, from here on, equal one of the first third each. */
const EQUAL_FROM = 160;
const EQUAL_COUNT = Math.floor(BLOCKS * 0.3);
const SIZE = BLOCKS * BLOCK + 777;
const OPTIONS = ['--block-size', '64KiB', '--progress', 'json'];

interface Place extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  readonly line: Relay;
  readonly options: readonly string[];
}

async function place(bytesPerSecond: number): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await tempDir());
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  const random = prng(seed);
  const bytes = random.bytes(SIZE);
  for (let at = 0; at < EQUAL_COUNT; at++) {
    const from = random.below(Math.floor(BLOCKS / 3)) * BLOCK;
    bytes.copy(bytes, (EQUAL_FROM + at) * BLOCK, from, from + BLOCK);
  }
  await writeFile(source, bytes);
  const receiver = building.use(await startReceiver({ folder: folder.path, target }));
  const line = building.use(await Relay.start({ to: receiver, bytesPerSecond }));
  const ticket = await writeTicketVia(receiver, line, join(folder.path, 'slow'));
  const parts = building.move();
  const options = [...OPTIONS, '--ticket-file', ticket, source];
  const dispose = async (): Promise<void> => await parts.disposeAsync();
  return { source, target, receiver, line, options, [Symbol.asyncDispose]: dispose };
}

function copiedOf(done: Done): number {
  return Number((done as unknown as Record<string, unknown>)['blocksCopied']);
}

test('on a slow line equal blocks are copied on the target', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await place(2 * MIB);
  const done = doneOf(await runSender(at.options));
  await assertEqualFiles(at.source, at.target);
  assert.equal(copiedOf(done) + done.blocksSent, BLOCKS + 1);
  // Where the first copies take long, as on a busy disk, only one in 32 is tried from then on.
  assert(copiedOf(done) >= Math.floor(EQUAL_COUNT / 32), `${copiedOf(done)} of ${EQUAL_COUNT}`);
  assert(at.line.bytes < SIZE - (copiedOf(done) - 4) * BLOCK, `${at.line.bytes} bytes on the line`);
});

test('kills of both, and dd on the target between them, leave a right copy', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await place(3 * MIB);
  {
    await using sender = await startSender(at.options);
    // In the middle of the equal blocks.
    await until(
      'the equal blocks have begun',
      async () => (await at.receiver.durableCount()) > EQUAL_FROM + 10,
    );
    await at.receiver.end('SIGKILL');
    sender.kill('SIGKILL');
    await bounded('the sender to end', sender.ended);
  }
  // In the first third: sources of copies.
  const seeks = ['seek=0', 'seek=20', 'seek=40', 'seek=60'];
  for (const seek of seeks) {
    const how = ['bs=64k', 'count=1', 'conv=notrunc', 'status=none', seek];
    await runOk('dd', ['if=/dev/urandom', `of=${at.target}`, ...how]);
  }
  await at.receiver.start();
  const done = doneOf(await runSender(at.options));
  await assertEqualFiles(at.source, at.target);
  assert(done.blocksSkipped > 0 && done.blocksSkipped < BLOCKS);
});
