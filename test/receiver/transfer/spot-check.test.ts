import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SAMPLE_COUNT, refuseOtherDisk } from '../../../receiver/transfer/spot-check.ts';
import { coded } from '../../support/coded.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, openTransfer, putBlock, type TestTransfer } from '../../support/open-transfer.ts';
import { recordedTarget } from '../../support/recorded.ts';

const BLOCK_COUNT = 200;

interface Sampled extends AsyncDisposable {
  readonly memory: MemoryTarget;
  readonly opened: TestTransfer;
  check(random?: (below: number) => number): Promise<void>;
  /** Blocks that were read. */
  readonly reads: number[];
}

/** Durable from the second block to the last but one; every tenth block is zero. */
async function sampled(): Promise<Sampled> {
  const memory = new MemoryTarget();
  const reads: number[] = [];
  const target = recordedTarget(memory, (text) => {
    const offset = /^read back (\d+)$/.exec(text)?.[1];
    if (offset !== undefined) reads.push(Number(offset) / BLOCK_BYTES);
  });
  const opened = await openTransfer({ target, blockCount: BLOCK_COUNT });
  for (let index = 1; index < BLOCK_COUNT - 1; index++)
    await putBlock(opened, index, index % 10 === 0 ? 0 : 1);
  await opened.open.durability.flush();
  return {
    memory,
    opened,
    reads,
    check: async (random) => await refuseOtherDisk(target, opened.open, random),
    [Symbol.asyncDispose]: async () => await opened[Symbol.asyncDispose](),
  };
}

async function overwrite({ memory }: Sampled, from: number, count: number): Promise<void> {
  await memory.write(Buffer.alloc(count * BLOCK_BYTES, 1), from * BLOCK_BYTES);
  await memory.flush();
}

test('one block that is what the journal says is enough', async () => {
  await using at = await sampled();
  await at.check();
  assert.equal(at.reads.length, 1);
  assert.equal(at.opened.open.slabs.freeCount, at.opened.open.slabs.slabCount);
});

test('a disk of which a half was overwritten is still the same disk', async () => {
  await using at = await sampled();
  await overwrite(at, 0, BLOCK_COUNT / 2);
  await at.check();
});

test('a disk that holds nothing of the transfer is refused; its zeros say nothing', async () => {
  await using at = await sampled();
  await overwrite(at, 0, BLOCK_COUNT - 1);
  for (let index = 10; index < BLOCK_COUNT - 1; index += 10) {
    await at.memory.write(Buffer.alloc(BLOCK_BYTES), index * BLOCK_BYTES);
  }
  await at.memory.flush();
  const message = new RegExp(
    `^/memory holds nothing of this transfer: all of ${SAMPLE_COUNT} sampled blocks`,
  );
  const hint = /--discard-transfer --overwrite-target/;
  await assert.rejects(at.check(), coded('target-refused', { message, hint }));
  assert.equal(new Set(at.reads).size, SAMPLE_COUNT);
  assert(at.reads.every((index) => index % 10 !== 0 && index > 0 && index < BLOCK_COUNT - 1));
});

test('every durable block that is not zero can be drawn', async () => {
  const drawn = new Set<number>();
  await using at = await sampled();
  await overwrite(at, 0, BLOCK_COUNT - 1);
  for (let round = 0; round < 40 && drawn.size < 179; round++) {
    await assert.rejects(at.check(), coded('target-refused'));
    for (const index of at.reads) drawn.add(index);
  }
  assert.equal(drawn.size, 179);
});

test('one bad sector does not decide; a disk that cannot be read at all is an I/O error', async () => {
  await using at = await sampled();
  at.memory.arm({ operation: 'read', errno: 'EIO' });
  await at.check();
  at.memory.arm({ operation: 'read', errno: 'EIO', isForEver: true });
  await assert.rejects(at.check(), coded('io-error'));
});

test('where nothing but zeros is durable there is nothing to compare', async () => {
  await using opened = await openTransfer();
  await putBlock(opened, 1, 0, true);
  await refuseOtherDisk(opened.transfer.target, opened.open);
});
