import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { claimTransfer } from '../../../receiver/transfer/claim.ts';
import { sealTransfer, type SealOutcome } from '../../../receiver/transfer/seal.ts';
import type { Target } from '../../../receiver/target/target.ts';
import type { Transfer } from '../../../receiver/transfer/transfer.ts';
import { PIPE_BLOCKS_MAX, cutTarget, prepareForAnySize } from '../../../receiver/transfer/stream-size.ts';
import { writeZeroBlocks } from '../../../receiver/transfer/write-block.ts';
import { coded } from '../../support/coded.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MEMORY_IDENTITY, MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, claimOf, settle } from '../../support/open-transfer.ts';
import { prng } from '../../support/prng.ts';
import { recordedTarget } from '../../support/recorded.ts';
import { ROOM_BYTES, UNKNOWN, unclaimed } from '../../support/unclaimed.ts';

const MIB = 1024 * 1024;
const KEY = makeSigningKey(Buffer.alloc(32, 1));

/** With the digests of blocks as `put` writes them. */
async function seal(transfer: Transfer, lengths: readonly number[]): Promise<SealOutcome> {
  const digests = lengths.map((length, index) => digestNow(prng(index).bytes(length)));
  const request = { blockCount: lengths.length, root: digestNow(Buffer.concat(digests)) };
  return await sealTransfer(transfer, request, { key: KEY, clock: new FakeClock() });
}

test('without a size the transfer has room for what the target can take, and tells no size', async () => {
  await using the = await unclaimed();
  const { transfer } = the;
  assert.equal(await claimTransfer(transfer, UNKNOWN), 'new');
  const { state, size, blockCount, sizeMax, blockSize } = transfer.status();
  assert.deepEqual([state, size, blockCount, sizeMax], ['open', null, null, ROOM_BYTES]);
  assert.equal(blockSize, BLOCK_BYTES);
  await the.put(transfer, ROOM_BYTES / BLOCK_BYTES - 1);
  await assert.rejects(seal(transfer, [1]), coded('size-unknown', { hint: /PUT \/transfer with/ }));
  assert.equal(await claimTransfer(transfer, UNKNOWN), 'same');
  const again = the.restarted();
  assert.deepEqual(again.status().sizeMax, ROOM_BYTES);
  assert.equal(again.claimed().table.countOf('durable'), 1);
});

test('the size comes with the end: then the last block is short, and the seal is of that size', async () => {
  await using the = await unclaimed();
  const { transfer } = the;
  await claimTransfer(transfer, UNKNOWN);
  const open = transfer.claimed();
  await the.put(transfer, 0);
  await writeZeroBlocks(transfer, [[1, 1]], true);
  const size = 2 * BLOCK_BYTES + 10;
  assert.equal(await claimTransfer(transfer, { ...UNKNOWN, size }), 'fixed');
  assert.deepEqual([open.blockCount, open.geometry.sizeBytes], [3, size]);
  assert.deepEqual(transfer.status().blocks, { absent: 1, written: 0, durable: 2, verified: 0 });
  assert.deepEqual(open.zeroDigests.of(2), digestNow(Buffer.alloc(10)));
  const zeros = { ...UNKNOWN, size };
  for (const claim of [zeros, UNKNOWN]) assert.equal(await claimTransfer(transfer, claim), 'same');
  await the.put(transfer, 1);
  await the.put(transfer, 2, 10);
  const sealed = await seal(transfer, [BLOCK_BYTES, BLOCK_BYTES, 10]);
  assert(sealed.outcome === 'sealed');
  assert.equal((JSON.parse(sealed.receipt.json) as { size: number }).size, size);
  assert.equal(await claimTransfer(transfer, UNKNOWN), 'same', 'also when sealed');
});

test('the journal has the size before anything else, and the cut is flushed before the seal', async () => {
  await using the = await unclaimed();
  const { transfer, notes } = the;
  await claimTransfer(transfer, UNKNOWN);
  await the.put(transfer, 0);
  notes.length = 0;
  await claimTransfer(transfer, { ...UNKNOWN, size: BLOCK_BYTES });
  assert.deepEqual(notes, ['set claim', 'prepare', 'prepare done']);
  await seal(transfer, [BLOCK_BYTES]);
  assert.deepEqual(notes.slice(3), ['flush', 'flush done', 'set receipt,receiptSignature']);
});

test('a crash at any step of it leaves a transfer that goes on', async () => {
  const size = BLOCK_BYTES + 5;
  for (let step = 0; ; step++) {
    let left = Infinity;
    await using the = await unclaimed(() => {
      if (left-- === 0) throw new TransferError('io-error', 'the power is gone');
    });
    await claimTransfer(the.transfer, UNKNOWN);
    await the.put(the.transfer, 0);
    left = step;
    const isCut = await claimTransfer(the.transfer, { ...UNKNOWN, size }).then(
      () => false,
      () => true,
    );
    left = Infinity;
    const transfer = the.restarted();
    const open = transfer.claimed();
    assert.equal(open.table.countOf('durable'), 1, `step ${step}`);
    await cutTarget(transfer, open);
    assert.match(await claimTransfer(transfer, { ...UNKNOWN, size }), /^(same|fixed)$/);
    await the.put(transfer, 1, 5);
    assert.equal((await seal(transfer, [BLOCK_BYTES, 5])).outcome, 'sealed');
    if (!isCut) return assert(step >= 2, `${step} steps`);
  }
});

test('a cut that failed is tried again by the same claim, and nothing is sealed before', async () => {
  let isFailing = false;
  await using the = await unclaimed((text) => {
    if (isFailing && text === 'prepare') throw new TransferError('io-error', 'EIO');
  });
  const { transfer, notes } = the;
  await claimTransfer(transfer, UNKNOWN);
  await the.put(transfer, 0);
  isFailing = true;
  const { epoch } = transfer;
  await assert.rejects(claimTransfer(transfer, { ...UNKNOWN, size: BLOCK_BYTES }), coded('io-error'));
  assert.notEqual(transfer.epoch, epoch, 'as after any failed change of the target');
  await assert.rejects(seal(transfer, [BLOCK_BYTES]), coded('io-error'));
  isFailing = false;
  assert.equal(await claimTransfer(transfer, UNKNOWN), 'same');
  assert.equal(notes.at(-1), 'prepare done');
  assert.equal((await seal(transfer, [BLOCK_BYTES])).outcome, 'sealed');
});

test('the size must hold what is there, and fit into the target', async () => {
  await using the = await unclaimed();
  const { transfer } = the;
  await claimTransfer(transfer, UNKNOWN);
  await the.put(transfer, 2);
  const fix = async (size: number): Promise<unknown> => await claimTransfer(transfer, { ...UNKNOWN, size });
  for (const size of [0, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES - 1]) {
    const message = /its source has at least 196608 bytes \(192 KiB\), this one has \d+$/;
    await assert.rejects(fix(size), coded('transfer-mismatch', { message, hint: /--discard-transfer/ }));
  }
  await assert.rejects(
    fix(ROOM_BYTES + 1),
    coded('target-too-small', { message: /it has room for 16777216 bytes/ }),
  );
  for (const size of [-1, 1.5, 2 ** 53]) await assert.rejects(fix(size), coded('bad-request'));
  assert.equal(transfer.status().size, null);
  assert.equal(await fix(3 * BLOCK_BYTES), 'fixed');
  for (const size of [-1, 1.5, 2 ** 53]) await assert.rejects(fix(size), coded('transfer-mismatch'));
  // A size that was given wrong is corrected; the blocks that both sizes have in full stay.
  assert.equal(await fix(3 * BLOCK_BYTES + 1), 'resized');
  assert.deepEqual([transfer.status().size, transfer.status().blocks.durable], [3 * BLOCK_BYTES + 1, 1]);
});

test('writes that wait while the size is fixed are refused where they lie behind it', async () => {
  await using the = await unclaimed();
  const { transfer, target } = the;
  await claimTransfer(transfer, UNKNOWN);
  using gate = target.hold('write');
  const first = the.put(transfer, 0);
  await gate.arrived();
  const fixing = claimTransfer(transfer, { ...UNKNOWN, size: BLOCK_BYTES + 5 });
  await settle();
  const settled = Promise.allSettled([
    the.put(transfer, 1),
    the.put(transfer, 7),
    writeZeroBlocks(transfer, [[0, 3]], false),
  ]);
  gate.open();
  assert.equal(await fixing, 'fixed');
  await first;
  const codes = (await settled).map((each) =>
    each.status === 'rejected' ? (each.reason as TransferError).code : '',
  );
  assert.deepEqual(codes, ['length-mismatch', 'block-out-of-range', 'block-out-of-range']);
  assert.equal(transfer.claimed().table.stateOf(7), 'absent');
});

test('a disk and a pipe are never one transfer', async () => {
  await using pipe = await unclaimed();
  await claimTransfer(pipe.transfer, UNKNOWN);
  await assert.rejects(
    claimTransfer(pipe.transfer, { ...claimOf(3), blockSize: BLOCK_BYTES }),
    coded('transfer-mismatch', { message: /: its source is a pipe, this one is a disk or a file$/ }),
  );
  await using disk = await unclaimed();
  await claimTransfer(disk.transfer, claimOf(3));
  for (const claim of [UNKNOWN, { ...claimOf(3), stream: true }]) {
    await assert.rejects(
      claimTransfer(disk.transfer, claim),
      coded('transfer-mismatch', { message: /: its source is a disk or a file, this one is a pipe$/ }),
    );
  }
});

test('a pipe whose size was told at once goes on with and without it', async () => {
  await using the = await unclaimed();
  const sized = { ...UNKNOWN, size: BLOCK_BYTES };
  assert.equal(await claimTransfer(the.transfer, sized), 'new');
  assert.deepEqual(the.notes.slice(1, 3), ['prepare', 'prepare done']);
  assert.equal(await claimTransfer(the.transfer, UNKNOWN), 'same');
  assert.equal(await claimTransfer(the.restarted(), sized), 'same');
});

test('a device is what it is; a file grows to what it has room for, in whole blocks', async () => {
  const prepared: number[] = [];
  const target = (roomBytes: number, sizeBytes: number | null, mostBytes = Infinity): Target => ({
    ...recordedTarget(new MemoryTarget(), () => {}),
    identity: { ...MEMORY_IDENTITY, sizeBytes },
    isSizeFixed: sizeBytes !== null,
    roomBytes: async () => await Promise.resolve(roomBytes),
    prepare: async (bytes) => {
      if (bytes > mostBytes) throw new TransferError('target-too-small', 'EFBIG');
      return await Promise.resolve(void prepared.push(bytes));
    },
  });
  assert.equal(await prepareForAnySize(target(MIB + 512, MIB + 512), BLOCK_BYTES), MIB + 512);
  assert.deepEqual(prepared, []);
  assert.equal(await prepareForAnySize(target(MIB + 1, null), BLOCK_BYTES), MIB + BLOCK_BYTES);
  assert.equal(await prepareForAnySize(target(0, null), BLOCK_BYTES), BLOCK_BYTES);
  const most = PIPE_BLOCKS_MAX * BLOCK_BYTES;
  assert.equal(await prepareForAnySize(target(2 ** 53, null), BLOCK_BYTES), most);
  assert.equal(await prepareForAnySize(target(2 ** 53, null, most / 3), BLOCK_BYTES), most / 4);
  assert.deepEqual(prepared.slice(-1), [most / 4]);
});
