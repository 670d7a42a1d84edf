import assert from 'node:assert/strict';
import { test } from 'node:test';
import { offsetOf, blockIndexOf } from '../../../common/geometry.ts';
import { SAMPLE_COUNT, sampleBlocks } from '../../../receiver/transfer/spot-check.ts';
import { coded } from '../../support/coded.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { openTransfer, putBlock, type TestTransfer } from '../../support/open-transfer.ts';
import { recordedTarget } from '../../support/recorded.ts';

const BLOCK_COUNT = 50;

interface Sampled extends AsyncDisposable {
  readonly memory: MemoryTarget;
  readonly opened: TestTransfer;
  /** Looks at the first, the last, and always the same ones between. */
  sample(random?: (below: number) => number): Promise<number>;
  /** Offsets of the reads. */
  readonly reads: number[];
}

/** Durable from the second block to the last but one. */
async function sampled(): Promise<Sampled> {
  const memory = new MemoryTarget();
  const reads: number[] = [];
  const target = recordedTarget(memory, (text) => {
    const offset = /^read back (\d+)$/.exec(text)?.[1];
    if (offset !== undefined) reads.push(Number(offset));
  });
  const opened = await openTransfer({ target, blockCount: BLOCK_COUNT });
  for (let index = 1; index < BLOCK_COUNT - 1; index++) await putBlock(opened, index, 1);
  await opened.open.durability.flush();
  return {
    memory,
    opened,
    reads,
    sample: async (random) => await sampleBlocks(target, opened.open, random),
    [Symbol.asyncDispose]: async () => await opened[Symbol.asyncDispose](),
  };
}

test('a target that is as the journal says passes, whatever was written but not flushed', async () => {
  await using at = await sampled();
  await putBlock(at.opened, 0, 1);
  const compared = await at.sample();
  assert.ok(compared > 10 && compared <= SAMPLE_COUNT + 2, String(compared));
  assert.equal(at.opened.open.slabs.freeCount, at.opened.open.slabs.slabCount);
});

test('the first and the last durable block are always among the sample', async () => {
  for (const [index, draws] of [
    [1, 30],
    [BLOCK_COUNT - 2, 20],
  ] as const) {
    await using at = await sampled();
    const { geometry } = at.opened.open;
    await at.memory.write(Buffer.from([1]), offsetOf(blockIndexOf(index, geometry), geometry) + 70);
    await at.memory.flush();
    const message = new RegExp(
      `^block ${index} \\(offset ${index * geometry.blockSizeBytes}\\) of /memory is not`,
    );
    const refusal = coded('target-refused', { message, hint: /--discard-transfer --overwrite-target/ });
    await assert.rejects(
      at.sample(() => draws),
      refusal,
    );
  }
});

test('a block that is drawn is compared, each only once', async () => {
  await using at = await sampled();
  assert.equal(await at.sample(() => 20), 3);
  const { blockSizeBytes } = at.opened.open.geometry;
  assert.deepEqual(
    at.reads,
    [1, BLOCK_COUNT - 2, 21].map((index) => index * blockSizeBytes),
  );
  await at.memory.write(Buffer.alloc(1), 21 * blockSizeBytes);
  await at.memory.flush();
  await assert.rejects(
    at.sample(() => 20),
    coded('target-refused'),
  );
});

test('every durable block can be drawn, and no other', async () => {
  await using at = await sampled();
  const limits = new Set<number>();
  let next = 0;
  await at.sample((below) => {
    limits.add(below);
    return next++ % below;
  });
  assert.deepEqual([...limits], [BLOCK_COUNT - 2]);
});

test('a target that cannot be read is an I/O error', async () => {
  await using at = await sampled();
  at.memory.arm({ operation: 'read', errno: 'EIO' });
  await assert.rejects(at.sample(), coded('io-error'));
});

test('where nothing is durable there is nothing to compare', async () => {
  await using opened = await openTransfer();
  assert.equal(await sampleBlocks(opened.transfer.target, opened.open), 0);
});
