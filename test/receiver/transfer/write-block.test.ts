import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { blockIndexOf } from '../../../common/geometry.ts';
import type { Range } from '../../../common/ranges.ts';
import { writeBlock, writeZeroBlocks } from '../../../receiver/transfer/write-block.ts';
import { coded } from '../../support/coded.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import {
  BLOCK_BYTES,
  LAST_BYTES,
  contentOf,
  digestOn,
  listedIn,
  openTransfer,
  putBlock,
  settle,
  type TestTransfer,
} from '../../support/open-transfer.ts';
import { recordedTarget } from '../../support/recorded.ts';

/** Which version of each block is on the target: `3:1` is version 1 of block 3. */
function contentsOn(memory: MemoryTarget, { open }: TestTransfer, versions: number): string[] {
  return Array.from({ length: open.blockCount }, (_, index) => {
    const digest = digestOn(memory, open, index);
    const isVersion = (version: number): boolean =>
      digestNow(contentOf(open, index, version)).toString('hex') === digest;
    const found = Array.from({ length: versions }, (_unused, version) => version).find(isVersion);
    return `${index}:${found ?? '?'}`;
  });
}

test('the result repeats what was done', async () => {
  await using opened = await openTransfer();
  const { transfer, open } = opened;
  const bytes = contentOf(open, 3, 1);
  const digest = digestNow(bytes);
  const block = { index: blockIndexOf(3, open.geometry), bytes, digest, isFlushed: true };
  const expected = {
    transferId: transfer.id,
    epoch: open.durability.epoch,
    index: 3,
    offset: 3 * BLOCK_BYTES,
    length: BLOCK_BYTES,
    sha256: digest.toString('hex'),
    state: 'durable',
  };
  assert.deepEqual(await writeBlock(transfer, block), {
    receipt: { ...expected, generation: 1 },
    isNew: true,
  });
  const other = contentOf(open, 3, 2);
  const changed = { ...block, bytes: other, digest: digestNow(other), isFlushed: false };
  const again = await writeBlock(transfer, changed);
  const sha256 = changed.digest.toString('hex');
  assert.deepEqual(again, {
    receipt: { ...expected, sha256, state: 'written', generation: 2 },
    isNew: false,
  });
});

test('a durable block that is sent again is neither invalidated nor written', async () => {
  const memory = new MemoryTarget();
  const calls: string[] = [];
  const target = recordedTarget(memory, (text) => calls.push(text));
  await using opened = await openTransfer({ target });
  await putBlock(opened, 1, 1, true);
  await writeZeroBlocks(opened.transfer, [[3, 2]], true);
  calls.length = 0;
  const again = await putBlock(opened, 1, 1);
  assert.deepEqual([again.state, again.generation], ['durable', 2]);
  const zeros = await writeZeroBlocks(opened.transfer, [[3, 2]], false);
  assert.equal(zeros.generation, 2);
  assert.equal(calls.length, 0);
  assert.deepEqual([...listedIn(opened.journal).keys()], [1, 3, 4]);
  await writeZeroBlocks(opened.transfer, [[2, 4]], false);
  assert.deepEqual(
    calls.filter((call) => !call.endsWith('done')),
    [`zeros ${2 * BLOCK_BYTES}`, `zeros ${5 * BLOCK_BYTES}`],
  );
});

test('the last block is short, and a block of another length is refused', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  const receipt = await putBlock(opened, 7, 1);
  assert.deepEqual([receipt.offset, receipt.length], [7 * BLOCK_BYTES, LAST_BYTES]);
  assert.equal(memory.bytesAt(7 * BLOCK_BYTES + LAST_BYTES, 1)[0], 0);
  const index = blockIndexOf(7, opened.open.geometry);
  const bytes = Buffer.alloc(BLOCK_BYTES);
  await assert.rejects(
    writeBlock(opened.transfer, { index, bytes, digest: digestNow(bytes), isFlushed: false }),
    { code: 'length-mismatch' },
  );
});

test('writes of one block run one after the other, and other blocks do not wait', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  using gate = memory.hold('write');
  const first = putBlock(opened, 2, 1);
  await gate.arrived();
  gate.letOthersPass();
  const second = putBlock(opened, 2, 2);
  assert.equal((await putBlock(opened, 3, 1)).generation, 1);
  assert.deepEqual([opened.open.table.stateOf(2), opened.open.table.stateOf(3)], ['absent', 'written']);
  gate.open();
  assert.deepEqual([(await first).generation, (await second).generation], [2, 3]);
  assert.deepEqual(contentsOn(memory, opened, 3).slice(2, 4), ['2:2', '3:1']);
});

test('zeros and the blocks that they cover wait for each other', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  using gate = memory.hold('write');
  const first = putBlock(opened, 4, 1);
  await gate.arrived();
  gate.letOthersPass();
  const zeros = writeZeroBlocks(opened.transfer, [[3, 3]], false);
  const last = putBlock(opened, 5, 1);
  await putBlock(opened, 6, 1);
  assert.deepEqual(
    [3, 4, 5].map((index) => opened.open.table.stateOf(index)),
    ['absent', 'absent', 'absent'],
  );
  gate.open();
  await Promise.all([first, zeros, last]);
  assert.deepEqual(contentsOn(memory, opened, 2).slice(3, 7), ['3:0', '4:0', '5:1', '6:1']);
});

test('a failed write does not block the next one of the same block', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  memory.arm({ operation: 'write', errno: 'ENOSPC' });
  const [failed, next] = [putBlock(opened, 1, 1), putBlock(opened, 1, 2, true)];
  await assert.rejects(failed, coded('no-space'));
  assert.equal((await next).state, 'durable');
});

test('zeroed blocks have the digest of zeros, the short last one its own', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  for (let index = 0; index < 8; index++) await putBlock(opened, index, 1, true);
  const [end, behind] = [7 * BLOCK_BYTES + LAST_BYTES, Buffer.from('not ours')];
  await memory.write(behind, end);
  const ranges: Range[] = [
    [6, 2],
    [0, 1],
  ];
  const receipt = await writeZeroBlocks(opened.transfer, ranges, true);
  const { transfer, open } = opened;
  const expected = { transferId: transfer.id, epoch: open.durability.epoch, ranges };
  assert.deepEqual(receipt, { ...expected, state: 'durable', generation: 10 });
  assert.deepEqual(contentsOn(memory, opened, 2), ['0:0', '1:1', '2:1', '3:1', '4:1', '5:1', '6:0', '7:0']);
  assert.deepEqual(memory.bytesAt(end, behind.length), behind);
  const listed = listedIn(opened.journal);
  for (let index = 0; index < 8; index++)
    assert.equal(listed.get(index), digestOn(memory.crash(), open, index));
});

test('zeros without a flush are only written, and no ranges are no write', async () => {
  await using opened = await openTransfer();
  const receipt = await writeZeroBlocks(opened.transfer, [[0, 2]], false);
  assert.deepEqual([receipt.state, receipt.generation], ['written', 1]);
  assert.equal(opened.open.table.countOf('written'), 2);
  const nothing = await writeZeroBlocks(opened.transfer, [], true);
  assert.deepEqual([nothing.state, nothing.generation], ['durable', 0]);
});

test('the generation of zeros covers all their ranges, also those that needed no write', async () => {
  await using opened = await openTransfer();
  await writeZeroBlocks(opened.transfer, [[5, 1]], true);
  const ranges: Range[] = [
    [0, 2],
    [5, 1],
  ];
  const { generation } = await writeZeroBlocks(opened.transfer, ranges, false);
  assert.equal(opened.open.table.stateOf(0), 'written');
  assert.equal(generation, 2, 'that of blocks 0 and 1');
});

test('zeros whose epoch ends between two ranges are not acknowledged', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  using gate = memory.hold('write');
  memory.arm({ operation: 'write', errno: 'EIO' });
  const failing = putBlock(opened, 5, 1);
  await gate.arrived();
  gate.letOthersPass();
  const ranges: Range[] = [
    [0, 2],
    [5, 1],
  ];
  const zeros = writeZeroBlocks(opened.transfer, ranges, false);
  gate.open();
  await assert.rejects(failing, coded('io-error'));
  await assert.rejects(zeros, coded('io-error'));
  assert.equal(opened.open.table.stateOf(0), 'absent');
});

test('a write that a flush lost is not acknowledged by a later flush', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory });
  memory.arm({ operation: 'flush', errno: 'EIO' });
  using gate = memory.hold('flush');
  const first = putBlock(opened, 0, 1, true);
  await gate.arrived();
  const second = putBlock(opened, 1, 1, true);
  const zeros = writeZeroBlocks(opened.transfer, [[2, 2]], true);
  await settle();
  assert.equal(opened.open.table.countOf('written'), 4);
  gate.open();
  await assert.rejects(first, coded('io-error'));
  await assert.rejects(second, coded('io-error'));
  await assert.rejects(zeros, coded('io-error'));
  assert.equal(listedIn(opened.journal).size, 0);
});

test('a block that waited for its lock is not written once the transfer is sealed', async () => {
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory, blockCount: 1 });
  using gate = memory.hold('write');
  const first = putBlock(opened, 0, 1);
  await gate.arrived();
  const waiting = putBlock(opened, 0, 2);
  const zeros = writeZeroBlocks(opened.transfer, [[0, 1]], false);
  opened.transfer.seal({ json: '{}', signature: 's' });
  gate.open();
  await first;
  await assert.rejects(waiting, coded('sealed'));
  await assert.rejects(zeros, coded('sealed'));
  await assert.rejects(putBlock(opened, 0, 3), coded('sealed'));
  assert.deepEqual(contentsOn(memory, opened, 4), ['0:1']);
});
