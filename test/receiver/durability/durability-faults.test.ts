import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { FLUSH_ERRORS_MAX, FLUSH_ERRORS_PAUSE_MS } from '../../../receiver/durability/durability.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { coded } from '../../support/coded.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { digestOn, fastTempDir, listedIn, openTransfer, putBlock } from '../../support/open-transfer.ts';
import { recordedJournal } from '../../support/recorded.ts';
import { skipUnlessTmpfs, tmpfs } from '../../support/tmpfs.ts';

test('a failed flush makes everything since the last good one absent and begins a new epoch', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  const { durability, table } = opened.open;
  await putBlock(opened, 0, 1, true);
  await putBlock(opened, 1, 1);
  await putBlock(opened, 2, 1);
  const { epoch } = durability;
  memory.arm({ operation: 'flush', errno: 'EIO' });
  await assert.rejects(durability.flush(), coded('io-error'));
  assert.notEqual(durability.epoch, epoch);
  assert.equal(durability.durableGeneration, 0);
  assert.deepEqual(table.statesByRange(0, 8), [
    { first: 0, count: 1, state: 'durable' },
    { first: 1, count: 7, state: 'absent' },
  ]);
  assert.deepEqual(
    opened.epochEnds.map(({ lostBlocks }) => lostBlocks),
    [2],
  );
  // The next flush succeeds, as Linux has it, and must not bring them back.
  await durability.flush();
  assert.deepEqual([...listedIn(opened.journal).keys()], [0]);
  const again = await putBlock(opened, 1, 1, true);
  assert.deepEqual([again.epoch, again.generation], [durability.epoch, 1]);
  assert.equal(digestOn(memory.crash(), opened.open, 1), again.sha256);
  // Nor may a later one, when the new epoch has come to the generations that they had.
  for (let generation = 2; generation < 5; generation++) await putBlock(opened, 1, generation);
  await durability.flush();
  assert.deepEqual([...listedIn(opened.journal).keys()], [0, 1]);
});

test('all who wait for a flush that fails are told, and so is a write in hand of the old epoch', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  const waiting = [0, 1].map(async (index) => await putBlock(opened, index, 1, true));
  memory.arm({ operation: 'flush', errno: 'ENOSPC' });
  using flushes = memory.hold('flush');
  await flushes.arrived();
  using writes = memory.hold('write');
  const slow = putBlock(opened, 2, 1);
  await writes.arrived();
  flushes.open();
  for (const put of waiting) await assert.rejects(put, coded('io-error'));
  writes.open();
  await assert.rejects(slow, coded('io-error'));
  assert.equal(opened.open.table.countOf('absent'), 8);
  assert.equal(opened.epochEnds.length, 1);
});

test('a write that fails ends the epoch like a flush that fails', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  const { durability, table } = opened.open;
  const { epoch } = durability;
  await putBlock(opened, 0, 1, true);
  await putBlock(opened, 1, 1);
  memory.arm({ operation: 'write', errno: 'EIO' });
  await assert.rejects(putBlock(opened, 2, 1), coded('io-error'));
  assert.notEqual(durability.epoch, epoch);
  assert.deepEqual([table.countOf('durable'), table.countOf('absent')], [1, 7]);
  assert.equal((await putBlock(opened, 1, 1)).generation, 1);
});

test('a flush during which a write fails makes nothing durable', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  const waiting = putBlock(opened, 0, 1, true);
  using flushes = memory.hold('flush');
  await flushes.arrived();
  memory.arm({ operation: 'write', errno: 'EIO' });
  await assert.rejects(putBlock(opened, 1, 1), coded('io-error'));
  await putBlock(opened, 2, 1);
  flushes.open();
  await assert.rejects(waiting, coded('io-error'));
  assert.equal(listedIn(opened.journal).size, 0);
  assert.equal(opened.open.durability.durableGeneration, 0);
});

test('a flush that fails after its epoch ended takes what the new epoch wrote with it', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  const { durability, table } = opened.open;
  const waiting = putBlock(opened, 0, 1, true);
  memory.arm({ operation: 'flush', errno: 'EIO' });
  using flushes = memory.hold('flush');
  await flushes.arrived();
  memory.arm({ operation: 'write', errno: 'EIO' });
  await assert.rejects(putBlock(opened, 1, 1), coded('io-error'));
  const { sha256, epoch } = await putBlock(opened, 2, 1);
  flushes.open();
  await assert.rejects(waiting, coded('io-error'));
  // The kernel has reported block 2's write-back along with block 0's: nobody will hear of it again.
  await durability.flush();
  assert.notEqual(digestOn(memory.crash(), opened.open, 2), sha256);
  assert.equal(table.stateOf(2), 'absent');
  assert.equal(listedIn(opened.journal).size, 0);
  assert.notEqual(durability.epoch, epoch);
});

test('a write in hand of an ended epoch that fails does not end the next one as well', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  memory.arm({ operation: 'write', errno: 'EIO', isForEver: true });
  using writes = memory.hold('write');
  const slow = [0, 1].map(async (index) => await putBlock(opened, index, 1));
  await writes.arrived(2);
  writes.open();
  for (const put of slow) await assert.rejects(put, coded('io-error'));
  assert.equal(opened.epochEnds.length, 1);
});

test('a write for which the target has no room loses that block only', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  const { durability, table } = opened.open;
  const { epoch } = durability;
  await putBlock(opened, 0, 1);
  await putBlock(opened, 1, 1, true);
  memory.arm({ operation: 'write', errno: 'ENOSPC' });
  await assert.rejects(putBlock(opened, 1, 2), coded('no-space'));
  assert.deepEqual([durability.epoch, opened.epochEnds.length], [epoch, 0]);
  assert.deepEqual([table.stateOf(0), table.stateOf(1)], ['durable', 'absent']);
  assert.deepEqual([...listedIn(opened.journal).keys()], [0]);
});

test('while the journal has no room nothing becomes durable or is written; then it goes on', async () => {
  const clock = new FakeClock();
  await using folder = await fastTempDir();
  const sqlite = await SqliteJournal.open(join(folder.path, 'journal.db'));
  let isFull = false;
  const journal = recordedJournal(sqlite, (text) => {
    if (isFull) throw new TransferError('no-space', `cannot ${text}: no room`);
  });
  await using opened = await openTransfer({ journal, clock });
  const { durability, table } = opened.open;
  const { epoch } = durability;
  await putBlock(opened, 0, 1, true);
  isFull = true;
  await assert.rejects(putBlock(opened, 1, 1, true), coded('no-space'));
  assert.deepEqual([table.stateOf(1), durability.durableGeneration], ['written', 1]);
  await assert.rejects(putBlock(opened, 2, 1), coded('no-space'));
  assert.equal(table.stateOf(2), 'absent');
  await assert.rejects(putBlock(opened, 0, 2), coded('no-space'));
  assert.deepEqual([table.stateOf(0), [...listedIn(sqlite).keys()]], ['durable', [0]]);
  isFull = false;
  await clock.advance(60_000);
  await durability.flush();
  assert.deepEqual([...listedIn(sqlite).keys()], [0, 1]);
  assert.deepEqual([durability.epoch, durability.durableGeneration], [epoch, 2]);
  await putBlock(opened, 0, 2, true);
  assert.equal(table.countOf('durable'), 2);
  sqlite.close();
});

test(
  'a full file system under the journal is no-space until there is room',
  { skip: skipUnlessTmpfs },
  async () => {
    await using folder = await tmpfs('128k');
    const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
    await using opened = await openTransfer({ journal });
    await putBlock(opened, 0, 1, true);
    const filler = join(folder.path, 'filler');
    await assert.rejects(writeFile(filler, Buffer.alloc(1 << 20)), { code: 'ENOSPC' });
    await assert.rejects(putBlock(opened, 1, 1, true), coded('no-space'));
    await assert.rejects(putBlock(opened, 0, 2), coded('no-space'));
    assert.deepEqual([...listedIn(journal).keys()], [0]);
    await rm(filler);
    await opened.open.durability.flush();
    assert.deepEqual([...listedIn(journal).keys()], [0, 1]);
    assert.equal(opened.brokenJournals.length, 0);
    journal.close();
  },
);

test('a journal that cannot be written for another reason is reported, and nothing is durable', async () => {
  await using folder = await fastTempDir();
  const sqlite = await SqliteJournal.open(join(folder.path, 'journal.db'));
  const journal = recordedJournal(sqlite, (text) => {
    if (!text.startsWith('set')) throw new TransferError('journal-error', `cannot ${text}: EIO`);
  });
  await using opened = await openTransfer({ journal });
  await assert.rejects(putBlock(opened, 0, 1, true), coded('journal-error'));
  assert.equal(opened.brokenJournals.length, 1);
  assert.deepEqual([opened.open.durability.durableGeneration, opened.open.table.stateOf(0)], [0, 'written']);
  sqlite.close();
});

test('after three failed flushes in a row writes are refused for a while, and then tried again', async () => {
  const clock = new FakeClock();
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory, clock });
  for (let round = 0; round < FLUSH_ERRORS_MAX; round++) {
    memory.arm({ operation: 'flush', errno: 'EIO' });
    await assert.rejects(putBlock(opened, 0, 1, true), coded('io-error'));
  }
  const refusal = coded('io-error', { message: /^the flush of \/memory failed 3 times in a row: / });
  await assert.rejects(putBlock(opened, 0, 1), refusal);
  await clock.advance(FLUSH_ERRORS_PAUSE_MS - 1);
  await assert.rejects(putBlock(opened, 0, 1), refusal);
  await clock.advance(1);
  await putBlock(opened, 0, 1, true);
  memory.arm({ operation: 'flush', errno: 'EIO' });
  await assert.rejects(putBlock(opened, 1, 1, true), coded('io-error'));
  await putBlock(opened, 1, 1, true);
});
