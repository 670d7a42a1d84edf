/** A sealed transfer is read again, updated, resized; a full disk is adopted; equal blocks are copied. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../../common/clock.ts';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { blockIndexOf } from '../../../common/geometry.ts';
import type { SealReceipt } from '../../../common/protocol/protocol.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { planAdoption, startAdoption } from '../../../receiver/transfer/adopt.ts';
import { claimTransfer } from '../../../receiver/transfer/claim.ts';
import { copyBlock } from '../../../receiver/transfer/copy-block.ts';
import { sealTransfer } from '../../../receiver/transfer/seal.ts';
import { openForUpdate } from '../../../receiver/transfer/update.ts';
import { coded } from '../../support/coded.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { OddDisk } from '../../support/odd-disk.ts';
import {
  BLOCK_BYTES,
  claimOf,
  contentOf,
  fastTempDir,
  listedIn,
  openTransfer,
  putBlock,
  type TestTransfer,
} from '../../support/open-transfer.ts';
import { recordedJournal } from '../../support/recorded.ts';

const key = makeSigningKey(Buffer.alloc(32, 1));
const BLOCK_COUNT = 4;

function rootOf(opened: TestTransfer, versions: readonly number[]): Buffer {
  const open = opened.transfer.claimed();
  return digestNow(Buffer.concat(versions.map((version, at) => digestNow(contentOf(open, at, version)))));
}

/** Asks until it is sealed, as a sender does. */
async function seal(
  opened: TestTransfer,
  versions: readonly number[] = [1, 1, 1, 1],
  wallMs = Date.UTC(2026, 0, 1),
): Promise<SealReceipt> {
  const request = { blockCount: versions.length, root: rootOf(opened, versions) };
  for (let round = 0; round < 20; round++) {
    const clock = { ...systemClock, wallMs: () => wallMs };
    const result = await sealTransfer(opened.transfer, request, { key, clock });
    if (result.outcome === 'sealed') return JSON.parse(result.receipt.json) as SealReceipt;
  }
  throw new assert.AssertionError({ message: 'it is not sealed in 20 rounds' });
}

async function sealedPlace(): Promise<{ opened: TestTransfer; target: MemoryTarget; first: SealReceipt }> {
  const target = new MemoryTarget();
  const opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
  for (let index = 0; index < BLOCK_COUNT; index++) await putBlock(opened, index, 1);
  return { opened, target, first: await seal(opened) };
}

test('a run on a sealed transfer reads everything once more and dates the receipt anew', async () => {
  const { opened, first } = await sealedPlace();
  await using _opened = opened;
  assert.deepEqual([first.generation, first.previous, first.verifiedAt], [1, null, first.sealedAt]);
  assert.deepEqual(
    await seal(opened, [1, 1, 1, 1], Date.UTC(2026, 1, 1)),
    first,
    'without a claim nothing is read',
  );
  assert.equal(await claimTransfer(opened.transfer, claimOf(BLOCK_COUNT)), 'same');
  assert.equal(opened.transfer.status().state, 'sealed');
  const second = await seal(opened, [1, 1, 1, 1], Date.UTC(2026, 1, 1));
  assert.deepEqual(second, { ...first, verifiedAt: new Date(Date.UTC(2026, 1, 1)).toISOString() });
});

test('a sealed target that was changed is found, and the journal keeps what was sealed', async () => {
  const { opened, target } = await sealedPlace();
  await using _opened = opened;
  const listed = listedIn(opened.journal);
  target.writeAsOther(Buffer.from('x'), 2 * BLOCK_BYTES + 7);
  await claimTransfer(opened.transfer, claimOf(BLOCK_COUNT));
  const hint = /ddt-receive --update \/memory/;
  const message = /^\/memory no longer holds what was sealed: 1 of 4 blocks differ \(block 2\)/;
  await assert.rejects(seal(opened), coded('target-differs', { message, hint }));
  const { different, differentCount, blocks } = opened.transfer.status();
  assert.deepEqual([different, differentCount, blocks.absent, blocks.verified], [[[2, 1]], 1, 1, 3]);
  assert.deepEqual(listedIn(opened.journal), listed);
  await assert.rejects(putBlock(opened, 2, 1), coded('sealed'));
  // Put right by hand, it is found right by the next run.
  target.writeAsOther(contentOf(opened.open, 2, 1), 2 * BLOCK_BYTES);
  await claimTransfer(opened.transfer, claimOf(BLOCK_COUNT));
  assert.equal((await seal(opened)).generation, 1);
});

test('what a late request finds after the seal is read before the receipt is given again', async () => {
  const { opened, target } = await sealedPlace();
  await using _opened = opened;
  const { verifier } = opened.open;
  assert(verifier !== undefined);
  target.writeAsOther(Buffer.from('x'), 2 * BLOCK_BYTES + 7);
  await verifier.confirm();
  await assert.rejects(
    seal(opened),
    coded('target-differs', { message: /1 of 4 blocks differ \(block 2\)/ }),
  );
});

test('a sealed transfer is confirmed only when all of it has been read again', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
  for (let index = 0; index < BLOCK_COUNT; index++) await putBlock(opened, index, 1);
  await seal(opened);
  const slow = [0, 1].map((index) => target.holdReadBack(index));
  await claimTransfer(opened.transfer, claimOf(BLOCK_COUNT));
  for (const { arrived } of slow) await arrived;
  const clock = new FakeClock();
  const request = { blockCount: BLOCK_COUNT, root: rootOf(opened, [1, 1, 1, 1]) };
  const early = clock.runToEnd(sealTransfer(opened.transfer, request, { key, clock }));
  await eventually('a second is over', () => clock.monotonicMs() >= 1000);
  for (const hold of slow) hold.open();
  assert.deepEqual(await early, { outcome: 'verifying', verified: 2 });
});

test('an update keeps the earlier receipt and is sealed as the next generation', async () => {
  await using folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  const target = new MemoryTarget();
  let first: SealReceipt;
  {
    await using opened = await openTransfer({ target, journal, blockCount: BLOCK_COUNT, isReadBack: true });
    for (let index = 0; index < BLOCK_COUNT; index++) await putBlock(opened, index, 1);
    first = await seal(opened);
  }
  // A crash at each of its steps.
  for (const step of ['set', 'remove']) {
    const failing = recordedJournal(journal, (text) => {
      if (text.startsWith(step)) throw new Error('killed');
    });
    assert.throws(() => openForUpdate(failing), /killed/);
  }
  assert.equal(openForUpdate(journal), true);
  assert.equal(openForUpdate(journal), false);
  await using opened = await openTransfer({ target, journal, isReadBack: true });
  const { state, generation, resizable, blocks } = opened.transfer.status();
  assert.deepEqual([state, generation, resizable, blocks.absent], ['open', 2, true, 0]);
  await putBlock(opened, 1, 2);
  const second = await seal(opened, [1, 2, 1, 1]);
  assert.deepEqual(second.previous, { generation: 1, sealedAt: first.sealedAt, root: first.root });
  assert.deepEqual([second.generation, opened.transfer.isResizable], [2, false]);
  await opened[Symbol.asyncDispose]();
  journal.close();
});

for (const [what, blockCount] of [
  ['longer', 6],
  ['shorter', 3],
] as const) {
  test(`an update follows a source that is ${what}`, async () => {
    await using folder = await fastTempDir();
    const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
    const target = new MemoryTarget();
    {
      await using opened = await openTransfer({ target, journal, blockCount: BLOCK_COUNT, isReadBack: true });
      for (let index = 0; index < BLOCK_COUNT; index++) await putBlock(opened, index, 1);
      await seal(opened);
    }
    openForUpdate(journal);
    await using opened = await openTransfer({ target, journal, isReadBack: true });
    const other = { ...claimOf(blockCount), source: { ...claimOf(blockCount).source, serial: 'T2' } };
    await assert.rejects(
      claimTransfer(opened.transfer, other),
      coded('transfer-mismatch', { message: /T2/ }),
    );
    assert.equal(await claimTransfer(opened.transfer, claimOf(blockCount)), 'resized');
    const { size, blocks } = opened.transfer.status();
    // The last block of either size is short: it has to come again.
    const kept = Math.min(BLOCK_COUNT, blockCount) - 1;
    assert.deepEqual([size, blocks.absent], [claimOf(blockCount).size, blockCount - kept]);
    const again = { ...opened, open: opened.transfer.claimed() };
    for (let index = kept; index < blockCount; index++) await putBlock(again, index, 1);
    const receipt = await seal(
      again,
      Array.from({ length: blockCount }, () => 1),
    );
    assert.deepEqual([receipt.generation, receipt.blockCount], [2, blockCount]);
    await again.open.verifier?.stop();
    again.open.durability.close();
    await opened[Symbol.asyncDispose]();
    journal.close();
  });
}

test('a write that waits while an update changes the size is refused, and not journalled', async () => {
  await using folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  journal.setProperties({ update: 'yes' });
  const target = new MemoryTarget();
  await using opened = await openTransfer({ target, journal, blockCount: BLOCK_COUNT });
  for (let index = 0; index < BLOCK_COUNT - 1; index++) await putBlock(opened, index, 1, true);
  // A write that is not flushed: the resizing waits at its flush.
  await putBlock(opened, 0, 2);
  using gate = target.hold('flush');
  const resizing = claimTransfer(opened.transfer, claimOf(BLOCK_COUNT + 1));
  await gate.arrived();
  const waiting = putBlock(opened, BLOCK_COUNT - 1, 1, true);
  gate.open();
  await assert.rejects(waiting, coded('io-error', { message: /the size of the transfer has changed/ }));
  assert.equal(await resizing, 'resized');
  assert.deepEqual([...listedIn(journal).keys()], [0, 1, 2]);
  opened.transfer.claimed().durability.close();
  journal.close();
});

test('what the target holds is adopted: read, listed and verified', async () => {
  await using folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  const target = new MemoryTarget({ capacityBytes: BLOCK_COUNT * BLOCK_BYTES });
  {
    await using made = await openTransfer({ blockCount: BLOCK_COUNT });
    for (const index of [0, 1, 3]) target.writeAsOther(contentOf(made.open, index, 1), index * BLOCK_BYTES);
  }
  await using opened = await openTransfer({
    target,
    journal,
    isReadBack: true,
    claim: async (transfer) => {
      planAdoption(transfer);
      await assert.rejects(
        claimTransfer(transfer, { ...claimOf(BLOCK_COUNT), size: null }),
        coded('size-unknown'),
      );
      assert.equal(await claimTransfer(transfer, claimOf(BLOCK_COUNT)), 'new');
    },
  });
  await assert.rejects(putBlock(opened, 2, 1), coded('busy', { message: /still being read: 0 of 4 blocks/ }));
  await eventually('all of it is read', () => opened.transfer.status().adopting === null);
  assert.deepEqual([opened.transfer.verifiedCount, listedIn(journal).size], [BLOCK_COUNT, BLOCK_COUNT]);
  await putBlock(opened, 2, 1);
  assert.equal((await seal(opened)).verified, 'read-back');
  await opened[Symbol.asyncDispose]();
  journal.close();
});

test('an adoption that was cut resumes where it was recorded', async () => {
  await using folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  const target = new MemoryTarget({ capacityBytes: 1000 * BLOCK_BYTES });
  let left = 1;
  const dying = recordedJournal(journal, (text) => {
    if (text.startsWith('record') && left-- <= 0) throw new TransferError('no-space', 'no room');
  });
  {
    await using opened = await openTransfer({
      target,
      journal: dying,
      claim: async (transfer) => {
        planAdoption(transfer);
        await claimTransfer(transfer, claimOf(1000));
      },
    });
    const hasFailed = (): boolean => {
      try {
        return opened.transfer.status().adopting === null;
      } catch (error) {
        return error instanceof TransferError && error.code === 'no-space';
      }
    };
    await eventually('the journal is full', hasFailed);
    await assert.rejects(putBlock(opened, 0, 1), coded('no-space'));
  }
  const listed = listedIn(journal).size;
  assert(listed > 100 && listed < 1000, String(listed));
  await using opened = await openTransfer({ target, journal, isReadBack: true });
  await startAdoption(opened.transfer);
  const { adopting } = opened.transfer.status();
  assert.deepEqual(adopting, { done: listed, total: 1000 });
  await eventually('the rest is read', () => opened.transfer.status().adopting === null);
  assert.equal(listedIn(journal).size, 1000);
  await opened[Symbol.asyncDispose]();
  journal.close();
});

test('a durable block is copied to where an equal one belongs; any doubt about it is a refusal', async () => {
  const target = new MemoryTarget();
  await using opened = await openTransfer({ target, blockCount: 5, isReadBack: true });
  const { transfer, open } = opened;
  await putBlock(opened, 1, 1, true);
  const digest = Buffer.from(open.table.digestOf(1));
  const copy = async (from: number, to: number, wanted = digest): Promise<string> => {
    const [source, place] = [blockIndexOf(from, open.geometry), blockIndexOf(to, open.geometry)];
    const blocks = { from: source, to: place, digest: wanted, isFlushed: true };
    return (await copyBlock(transfer, blocks, async () => await open.slabs.take())).receipt.state;
  };
  assert.equal(await copy(1, 3), 'durable');
  assert.deepEqual(target.bytesAt(3 * BLOCK_BYTES, BLOCK_BYTES), target.bytesAt(BLOCK_BYTES, BLOCK_BYTES));
  const refused = (message: RegExp): object => coded('block-absent', { message });
  await assert.rejects(copy(2, 0), refused(/cannot copy block 2: it is not durable with this digest/));
  await assert.rejects(copy(1, 0, Buffer.alloc(32)), refused(/not durable with this digest/));
  await assert.rejects(copy(1, 4), refused(/its length is not that of block 4/));
  target.writeAsOther(Buffer.from('x'), BLOCK_BYTES);
  await assert.rejects(copy(1, 0), refused(/it was read back different/));
  assert.equal(open.table.stateOf(0), 'absent');
  assert.equal(open.slabs.freeCount, open.slabs.slabCount);
});
