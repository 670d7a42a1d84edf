/** What reading back proves, and what it takes back when a block differs. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { sealTransfer, type SealOutcome } from '../../../receiver/transfer/seal.ts';
import { coded } from '../../support/coded.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { OddDisk } from '../../support/odd-disk.ts';
import {
  contentOf,
  fastTempDir,
  openTransfer,
  putBlock,
  type TestTransfer,
} from '../../support/open-transfer.ts';
import { bounded } from '../../support/processes.ts';
import { recordedJournal } from '../../support/recorded.ts';

const key = makeSigningKey(Buffer.alloc(32, 1));

async function settled({ open }: TestTransfer): Promise<void> {
  await bounded('the readers to have nothing left to do', open.verifier?.settle() ?? Promise.resolve());
}

/** Blocks that the journal lists, and whether they are verified. */
function listed({ journal, open }: TestTransfer): [number, boolean][] {
  return [...journal.blocks()].map(({ index }) => [index, open.table.stateOf(index) === 'verified']);
}

async function seal({ transfer, open }: TestTransfer, clock = new FakeClock()): Promise<SealOutcome> {
  const digests = Array.from({ length: open.blockCount }, (_, at) => digestNow(contentOf(open, at, 1)));
  const root = digestNow(Buffer.concat(digests));
  return await clock.runToEnd(sealTransfer(transfer, { blockCount: open.blockCount, root }, { key, clock }));
}

test('a durable block is read back, and then verified in the journal as well', async () => {
  await using opened = await openTransfer({ isReadBack: true });
  await putBlock(opened, 0, 1, true);
  await putBlock(opened, 3, 0, true);
  await putBlock(opened, 7, 1);
  await settled(opened);
  assert.deepEqual(listed(opened), [
    [0, true],
    [3, true],
  ]);
  assert.equal(opened.transfer.verifiedCount, 2);
});

test('a block that holds other bytes is absent, for the journal too, and is told', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, isReadBack: true });
  target.astray.set(2, 6);
  await putBlock(opened, 2, 1, true);
  await settled(opened);
  assert.deepEqual([opened.mismatches, listed(opened)], [[2], []]);
  assert.equal(opened.open.table.stateOf(2), 'absent');
  target.astray.clear();
  await putBlock(opened, 2, 1, true);
  await settled(opened);
  assert.deepEqual([opened.mismatches, listed(opened)], [[2], [[2, true]]]);
});

test('what was verified is read again when a block is found elsewhere', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, isReadBack: true });
  for (const index of [0, 1]) await putBlock(opened, index, 1, true);
  await settled(opened);
  assert.equal(opened.transfer.verifiedCount, 2);
  target.astray.set(2, 0);
  await putBlock(opened, 2, 1, true);
  await settled(opened);
  assert.deepEqual([opened.mismatches, listed(opened)], [[2, 0], [[1, true]]]);
});

for (const failing of [[2], [1, 2]]) {
  const what = failing.length === 1 ? 'reads back different, and then not at all,' : 'can not be read back';
  test(`a block that ${what} puts in doubt what was verified`, async () => {
    const target = new OddDisk();
    await using opened = await openTransfer({ target, isReadBack: true });
    await putBlock(opened, 0, 1, true);
    await settled(opened);
    target.astray.set(2, 0);
    for (const nth of failing) target.arm({ operation: 'read', nth, errno: 'EIO' });
    await putBlock(opened, 2, 1, true);
    await settled(opened);
    assert.deepEqual([opened.mismatches, listed(opened)], [[2, 0], []]);
  });
}

test('a stopping receiver whose journal is full leaves a wrong block to the next one', async () => {
  await using folder = await fastTempDir();
  const sqlite = await SqliteJournal.open(join(folder.path, 'journal.db'));
  {
    const journal = recordedJournal(sqlite, (text) => {
      if (text.startsWith('forget')) throw new TransferError('no-space', 'no room');
    });
    const target = new OddDisk();
    await using opened = await openTransfer({ target, journal, isReadBack: true });
    target.astray.set(2, 6);
    const wrong = target.holdReadBack(2);
    await putBlock(opened, 2, 1, true);
    await wrong.arrived;
    const stopped = opened.open.verifier?.stop();
    wrong.open();
    await stopped;
    assert.deepEqual([opened.open.table.stateOf(2), listed(opened)], ['durable', [[2, false]]]);
    assert.deepEqual(opened.mismatches, []);
    sqlite.forgetBlocks([2]);
  }
  sqlite.close();
});

test('when a block is found elsewhere nothing stays verified, in memory and in the journal', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, isReadBack: true });
  await putBlock(opened, 0, 1, true);
  await settled(opened);
  assert.deepEqual(listed(opened), [[0, true]]);
  target.astray.set(2, 6);
  const [again, other] = [target.holdReadBack(0), target.holdReadBack(2)];
  const put = putBlock(opened, 2, 1, true);
  await other.arrived;
  other.open();
  await again.arrived;
  assert.deepEqual([listed(opened)[0], opened.open.table.stateOf(0)], [[0, false], 'durable']);
  again.open();
  await put;
  await settled(opened);
  assert.deepEqual(listed(opened), [[0, true]]);
});

test('a block that was read before another one went astray is read again', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, isReadBack: true });
  const early = target.holdReadBack(0);
  await putBlock(opened, 0, 1, true);
  await early.arrived;
  target.astray.set(2, 0);
  const wrong = target.holdReadBack(2);
  await putBlock(opened, 2, 1, true);
  await wrong.arrived;
  wrong.open();
  await eventually('block 2 reads back wrong', () => opened.mismatches.length > 0);
  early.open();
  await settled(opened);
  assert.deepEqual([opened.mismatches, listed(opened)], [[2, 0], []]);
});

test('a block is not overwritten while it is read back', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, isReadBack: true });
  const first = target.holdReadBack(0);
  await putBlock(opened, 0, 1, true);
  await first.arrived;
  const again = putBlock(opened, 0, 2, true);
  await putBlock(opened, 1, 1, true);
  assert.deepEqual([opened.open.table.stateOf(0), listed(opened)[0]], ['durable', [0, false]]);
  first.open();
  const { sha256 } = await again;
  await settled(opened);
  assert.equal(opened.open.table.digestOf(0).toString('hex'), sha256);
  assert.deepEqual(opened.mismatches, []);
});

test('nothing is sealed before all of it has been read back', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, blockCount: 4, isReadBack: true });
  const holds = [0, 1].map((index) => target.holdReadBack(index));
  for (let index = 0; index < 4; index++) await putBlock(opened, index, 1, true);
  for (const { arrived } of holds) await arrived;
  const clock = new FakeClock();
  const early = seal(opened, clock);
  // Then it waits for the blocks that are being read.
  await eventually('a second is over', () => clock.monotonicMs() >= 1000);
  for (const hold of holds) hold.open();
  assert.deepEqual(await early, { outcome: 'verifying', verified: 2 });
  assert.equal(opened.transfer.sealed, undefined);
  await settled(opened);
  const { outcome } = await seal(opened);
  assert.equal(outcome, 'sealed');
});

test('a block that reads back wrong three times is given up, and nothing is sealed', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, blockCount: 4, isReadBack: true });
  target.astray.set(1, 100);
  for (const index of [0, 2, 3, 1, 1, 1]) {
    await putBlock(opened, index, 1, true);
    await settled(opened);
  }
  assert.deepEqual(opened.open.verifier?.broken, [[1, 1]]);
  await assert.rejects(
    seal(opened),
    coded('verify-failed', { message: /^cannot verify block 1 of \/memory: written 3 times/ }),
  );
  assert.equal(opened.transfer.sealed, undefined);
});
