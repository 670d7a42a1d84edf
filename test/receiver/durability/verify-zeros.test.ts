/** Blocks of zeros that are read back in runs, and what ends a run. */
import type { ReadBackMethod } from '../../../common/protocol/read-back.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryTarget } from '../../support/memory-target.ts';
import {
  BLOCK_BYTES,
  openTransfer,
  putBlock,
  settle,
  type TestTransfer,
} from '../../support/open-transfer.ts';
import { bounded } from '../../support/processes.ts';

/** Enough for a run. */
const BLOCKS = 12;

/** Counts the zeros on its medium, and can be held up when it has. */
class ZeroTarget extends MemoryTarget {
  /** First block, and how many were asked for. */
  readonly asked: [number, number][] = [];
  readonly readSingly: number[] = [];
  /** At most so many are counted, as on a disk with an error there. */
  most = Infinity;
  held: { readonly arrive: () => void; readonly opened: Promise<void> } | undefined;

  async countZeros(offset: number, blockBytes: number, count: number): Promise<number> {
    this.asked.push([offset / BLOCK_BYTES, count]);
    let zeros = 0;
    const isZero = (at: number): boolean =>
      this.crash()
        .bytesAt(offset + at * blockBytes, blockBytes)
        .every((byte) => byte === 0);
    while (zeros < Math.min(count, this.most) && isZero(zeros)) zeros++;
    const { held } = this;
    this.held = undefined;
    held?.arrive();
    await held?.opened;
    return zeros;
  }

  override async readBack(...where: Parameters<MemoryTarget['readBack']>): Promise<ReadBackMethod> {
    this.readSingly.push(where[1] / BLOCK_BYTES);
    return await super.readBack(...where);
  }

  holdCount(): { readonly arrived: Promise<void>; readonly open: () => void } {
    const [arrived, opened] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    this.held = { arrive: arrived.resolve, opened: opened.promise };
    return { arrived: arrived.promise, open: opened.resolve };
  }
}

/** All blocks but the last, a short one, become durable at once. */
async function durableZeros(target: MemoryTarget): Promise<TestTransfer> {
  const opened = await openTransfer({ target, blockCount: BLOCKS + 1, isReadBack: true });
  for (let index = 0; index < BLOCKS; index++) await putBlock(opened, index, 0);
  await opened.open.durability.flush();
  return opened;
}

async function settled({ open }: TestTransfer): Promise<void> {
  await bounded('the readers to have nothing left to do', open.verifier?.settle() ?? Promise.resolve());
}

test('zeros are read back in one run, and are verified', async () => {
  const target = new ZeroTarget();
  await using opened = await durableZeros(target);
  await settled(opened);
  assert.deepEqual([target.asked, target.readSingly], [[[0, BLOCKS]], []]);
  assert.equal(opened.transfer.verifiedCount, BLOCKS);
});

test('a block in a run that holds other bytes is found', async () => {
  for (const wrong of [0, 5, BLOCKS - 1]) {
    const target = new ZeroTarget();
    const first = target.holdCount();
    await using opened = await durableZeros(target);
    await first.arrived;
    target.writeAsOther(Buffer.of(1), (wrong + 1) * BLOCK_BYTES - 1);
    first.open();
    opened.open.verifier?.startOver();
    await settled(opened);
    assert.equal(opened.open.table.stateOf(wrong), 'absent');
    assert.equal(opened.transfer.verifiedCount, BLOCKS - 1);
  }
});

test('what a run leaves is read block by block', async () => {
  const target = new ZeroTarget();
  target.most = 0;
  await using opened = await durableZeros(target);
  await settled(opened);
  assert.deepEqual(
    target.readSingly.toSorted((a, b) => a - b),
    Array.from({ length: BLOCKS }, (_, at) => at),
  );
  assert.deepEqual(target.asked, [[0, BLOCKS]]);
  assert.equal(opened.transfer.verifiedCount, BLOCKS);
});

test('an error in the middle of a run leaves the rest of it for later', async () => {
  const target = new ZeroTarget();
  target.most = 3;
  await using opened = await durableZeros(target);
  await settled(opened);
  assert.deepEqual(target.asked[0], [0, BLOCKS]);
  assert(!target.readSingly.includes(2) && target.readSingly.includes(BLOCKS - 1));
  assert.equal(opened.transfer.verifiedCount, BLOCKS);
});

test('a run keeps writers away from its blocks, and from no others', async () => {
  const target = new ZeroTarget();
  const run = target.holdCount();
  await using opened = await durableZeros(target);
  await run.arrived;
  const again = putBlock(opened, 5, 1, true);
  await putBlock(opened, BLOCKS, 1, true);
  assert.equal(opened.open.table.stateOf(5), 'durable');
  run.open();
  const { sha256 } = await again;
  await settled(opened);
  assert.equal(opened.open.table.digestOf(5).toString('hex'), sha256);
  assert.deepEqual([opened.mismatches, opened.transfer.verifiedCount], [[], BLOCKS + 1]);
});

test('a block that is written while the run waits for it is not taken for zeros', async () => {
  const target = new ZeroTarget();
  await using opened = await openTransfer({ target, blockCount: BLOCKS + 1, isReadBack: true });
  for (let index = 0; index < BLOCKS; index++) await putBlock(opened, index, 0);
  const lock = await opened.open.locks.lock(5, 1);
  const again = putBlock(opened, 5, 1, true);
  await settle();
  await opened.open.durability.flush();
  await settle();
  lock[Symbol.dispose]();
  await again;
  await settled(opened);
  assert.deepEqual(target.asked[0], [0, 5]);
  assert.equal(opened.open.table.stateOf(5), 'verified');
  assert.deepEqual([opened.mismatches, opened.transfer.verifiedCount], [[], BLOCKS]);
});

test('a run that was read before another program wrote is read again', async () => {
  const target = new ZeroTarget();
  const run = target.holdCount();
  await using opened = await durableZeros(target);
  await run.arrived;
  opened.open.verifier?.startOver();
  target.most = 0;
  run.open();
  await settled(opened);
  assert.equal(target.readSingly.length, BLOCKS);
  assert.equal(opened.transfer.verifiedCount, BLOCKS);
});

test('stopping waits for the run, and nothing is read after it', async () => {
  const target = new ZeroTarget();
  target.most = 3;
  const run = target.holdCount();
  await using opened = await durableZeros(target);
  await run.arrived;
  const stopped = opened.open.verifier?.stop();
  run.open();
  await bounded('the verifier to stop', stopped ?? Promise.resolve());
  assert.equal(target.asked.length, 1);
  assert.deepEqual([target.readSingly, opened.transfer.verifiedCount], [[], 3]);
});
