import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLUSH_BYTES, FLUSH_INTERVAL_MS } from '../../../receiver/durability/durability.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import {
  BLOCK_BYTES,
  contentOf,
  digestOn,
  fastTempDir,
  listedIn,
  openTransfer,
  putBlock,
  settle,
  type TestTransfer,
} from '../../support/open-transfer.ts';
import { recordedJournal, recordedTarget } from '../../support/recorded.ts';
import { digestNow } from '../../../common/digest/digest.ts';

interface Recorded extends AsyncDisposable {
  readonly memory: MemoryTarget;
  readonly test: TestTransfer;
  /** What happened since the claim; each with the published generation of that moment. */
  readonly calls: string[];
}

async function openRecorded(): Promise<Recorded> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await fastTempDir());
  const sqlite = await SqliteJournal.open(`${folder.path}/journal.db`);
  stack.defer(() => sqlite.close());
  const memory = new MemoryTarget();
  const calls: string[] = [];
  let published = (): number => 0;
  const note = (text: string): void => {
    calls.push(`${text} @${published()}`);
  };
  const opened = stack.use(
    await openTransfer({ target: recordedTarget(memory, note), journal: recordedJournal(sqlite, note) }),
  );
  published = () => opened.open.durability.durableGeneration;
  calls.length = 0;
  return { memory, test: opened, calls, [Symbol.asyncDispose]: async () => await stack.disposeAsync() };
}

test('data is flushed before the journal says so, and that before the generation is published', async () => {
  await using recorded = await openRecorded();
  const { test: opened, calls } = recorded;
  const receipt = await putBlock(opened, 1, 1, true);
  assert.deepEqual(calls, [
    'write 65536 @0',
    'write 65536 done @0',
    'flush @0',
    'flush done @0',
    'record 1 @0',
  ]);
  assert.deepEqual([receipt.state, receipt.generation], ['durable', 1]);
  assert.equal(opened.open.durability.durableGeneration, 1);
  assert.equal(opened.open.table.stateOf(1), 'durable');
});

test('a block that is only written is in no journal, and is durable after the next flush', async () => {
  await using opened = await openTransfer();
  const receipt = await putBlock(opened, 0, 1);
  assert.deepEqual([receipt.state, opened.open.table.stateOf(0)], ['written', 'written']);
  assert.equal(listedIn(opened.journal).size, 0);
  await opened.open.durability.flush();
  assert.equal(opened.open.table.stateOf(0), 'durable');
  assert.equal(listedIn(opened.journal).get(0), receipt.sha256);
});

test('an overwritten durable block is journalled as absent before its first byte is written', async () => {
  await using recorded = await openRecorded();
  const { test: opened, calls, memory } = recorded;
  await putBlock(opened, 0, 1, true);
  await putBlock(opened, 1, 1, true);
  calls.length = 0;
  using gate = memory.hold('write');
  const again = putBlock(opened, 0, 2, true);
  await gate.arrived();
  assert.deepEqual(calls, ['forget 0 @2', 'write 0 @2']);
  assert.deepEqual([...listedIn(opened.journal).keys()], [1]);
  assert.equal(opened.open.table.stateOf(0), 'absent');
  gate.open();
  const receipt = await again;
  assert.equal(listedIn(opened.journal).get(0), receipt.sha256);
});

test('barriers that are asked for together share one flush', async () => {
  await using recorded = await openRecorded();
  const { test: opened, calls } = recorded;
  await Promise.all([0, 1, 2, 3, 4, 5].map(async (index) => await putBlock(opened, index, 1, true)));
  assert.equal(calls.filter((call) => call.startsWith('flush @')).length, 1);
  assert.equal(calls.filter((call) => call.startsWith('record')).length, 1);
  assert.equal(opened.open.table.countOf('durable'), 6);
});

test('barriers that come during a flush wait for the next one, which they share', async () => {
  await using recorded = await openRecorded();
  const { test: opened, calls, memory } = recorded;
  using gate = memory.hold('flush');
  const first = putBlock(opened, 0, 1, true);
  await gate.arrived();
  const later = [1, 2, 3].map(async (index) => await putBlock(opened, index, 1, true));
  await settle();
  assert.equal(calls.filter((call) => call.startsWith('flush @')).length, 1);
  gate.open();
  await Promise.all([first, ...later]);
  const flushes = calls.filter((call) => /^(flush @|record)/.test(call));
  assert.deepEqual(flushes, ['flush @0', 'record 0 @0', 'flush @1', 'record 1,2,3 @1']);
});

test('a write that ends during a flush is not covered by it', async () => {
  await using recorded = await openRecorded();
  const { test: opened, memory } = recorded;
  await putBlock(opened, 0, 1);
  const gate = memory.hold('flush');
  const flush = opened.open.durability.flush();
  await gate.arrived();
  const receipt = await putBlock(opened, 1, 1);
  memory.release('flush');
  await flush;
  assert.deepEqual([...listedIn(opened.journal).keys()], [0]);
  assert.deepEqual([opened.open.durability.durableGeneration, receipt.generation], [1, 2]);
  assert.equal(opened.open.table.stateOf(1), 'written');
  assert.notEqual(digestOn(memory.crash(), opened.open, 1), receipt.sha256);
});

test('a block that is overwritten during a flush is never journalled with its old digest', async () => {
  await using recorded = await openRecorded();
  const { test: opened, memory, calls } = recorded;
  await putBlock(opened, 0, 1);
  await putBlock(opened, 1, 1);
  const gate = memory.hold('flush');
  const flush = opened.open.durability.flush();
  await gate.arrived();
  await putBlock(opened, 1, 2);
  using slow = memory.hold('write');
  const third = putBlock(opened, 0, 2);
  await slow.arrived();
  memory.release('flush');
  await flush;
  assert.equal(listedIn(opened.journal).size, 0);
  assert.equal(calls.filter((call) => call.startsWith('record')).length, 0);
  slow.open();
  await third;
  await opened.open.durability.flush();
  const expected = [0, 1].map((index) => digestNow(contentOf(opened.open, index, 2)).toString('hex'));
  assert.deepEqual([...listedIn(opened.journal).values()], expected);
});

test('generations count finished writes, and where nothing is to be flushed nothing is', async () => {
  await using recorded = await openRecorded();
  const { test: opened, calls } = recorded;
  const generations: number[] = [];
  for (const index of [3, 4, 3]) generations.push((await putBlock(opened, index, 1)).generation);
  assert.deepEqual(generations, [1, 2, 3]);
  assert.equal(opened.open.durability.generationOf(4), 2);
  await opened.open.durability.flush();
  calls.length = 0;
  await opened.open.durability.flush();
  assert.deepEqual(calls, []);
  assert.equal(opened.open.durability.durableGeneration, 3);
  assert.equal(opened.open.durability.generationOf(4), 3);
});

test('what is written is flushed within a second, without being asked for', async () => {
  const clock = new FakeClock();
  await using opened = await openTransfer({ clock });
  await putBlock(opened, 0, 1);
  await clock.advance(FLUSH_INTERVAL_MS / 2);
  await putBlock(opened, 1, 1);
  await clock.advance(FLUSH_INTERVAL_MS / 2 - 1);
  await settle();
  assert.equal(opened.open.table.countOf('written'), 2);
  await clock.advance(1);
  await settle();
  assert.equal(opened.open.table.countOf('durable'), 2);
  await putBlock(opened, 2, 1);
  opened.open.durability.close();
  await clock.advance(10 * FLUSH_INTERVAL_MS);
  await settle();
  assert.equal(opened.open.table.stateOf(2), 'written');
});

test('what was written during a flush has a flush of its own within a second', async () => {
  const memory = new MemoryTarget();
  const clock = new FakeClock();
  await using opened = await openTransfer({ target: memory, clock });
  await putBlock(opened, 0, 1);
  const gate = memory.hold('flush');
  const flush = opened.open.durability.flush();
  await gate.arrived();
  await putBlock(opened, 1, 1);
  memory.release('flush');
  await flush;
  await clock.advance(FLUSH_INTERVAL_MS);
  await settle();
  assert.equal(opened.open.table.countOf('durable'), 2);
});

test('much data is flushed before the second is over', async () => {
  const memory = new MemoryTarget();
  const clock = new FakeClock();
  await using opened = await openTransfer({ target: memory, clock });
  const { durability } = opened.open;
  const digest = digestNow(contentOf(opened.open, 0, 1));
  for (const [index, bytes] of [FLUSH_BYTES - BLOCK_BYTES, BLOCK_BYTES].entries()) {
    assert.equal(opened.open.table.countOf('durable'), 0);
    durability.finishWrite(durability.announce([index]), () => digest, bytes);
    await clock.advance(1);
    await settle();
  }
  assert.equal(opened.open.table.countOf('durable'), 2);
});

test('many blocks are recorded some at a time, and published when all of them are', async () => {
  const blockCount = 10_000;
  await using many = await openTransfer({ blockCount });
  const { journal } = many;
  const rows: number[] = [];
  const record = journal.recordDurable.bind(journal);
  let turns = 0;
  journal.recordDurable = (blocks) => {
    const all = [...blocks];
    rows.push(all.length);
    assert.equal(many.open.durability.durableGeneration, 0, 'nothing is published before all is recorded');
    setImmediate(() => turns++);
    record(all);
  };
  const indexes = Array.from({ length: blockCount }, (_, index) => index);
  const permit = many.open.durability.announce(indexes);
  many.open.durability.finishWrite(permit, () => digestNow(Buffer.from('x')), 1);
  await many.open.durability.flush();
  assert.deepEqual([rows, turns], [[2048, 2048, 2048, 2048, 1808], 4]);
  assert.equal(many.open.durability.durableGeneration, 1);
  assert.equal(listedIn(journal).size, blockCount);
});
