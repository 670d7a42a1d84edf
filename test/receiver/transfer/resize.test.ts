/** A pipe whose size was given wrong is corrected: whatever fails or comes meanwhile, nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { digestNow } from '../../../common/digest/digest.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { claimTransfer } from '../../../receiver/transfer/claim.ts';
import { sealTransfer, type SealOutcome } from '../../../receiver/transfer/seal.ts';
import { restoreLength } from '../../../receiver/transfer/stream-size.ts';
import type { Transfer } from '../../../receiver/transfer/transfer.ts';
import { coded } from '../../support/coded.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { BLOCK_BYTES, settle } from '../../support/open-transfer.ts';
import { prng } from '../../support/prng.ts';
import { writeZeroBlocks } from '../../../receiver/transfer/write-block.ts';
import { UNKNOWN, unclaimed, type Unclaimed } from '../../support/unclaimed.ts';

const KEY = makeSigningKey(Buffer.alloc(32, 1));

/** Three blocks are there. */
async function claimed(onNote?: (text: string) => void): Promise<Unclaimed> {
  const the = await unclaimed(onNote);
  await claimTransfer(the.transfer, { ...UNKNOWN, size: 3 * BLOCK_BYTES });
  for (let index = 0; index < 3; index++) await the.put(the.transfer, index);
  the.notes.length = 0;
  return the;
}

async function resized(transfer: Transfer, blockCount: number): Promise<string> {
  return await claimTransfer(transfer, { ...UNKNOWN, size: blockCount * BLOCK_BYTES });
}

async function seal(transfer: Transfer, blockCount: number): Promise<SealOutcome> {
  const digests = Array.from({ length: blockCount }, (_, index) => digestNow(prng(index).bytes(BLOCK_BYTES)));
  const request = { blockCount, root: digestNow(Buffer.concat(digests)) };
  return await sealTransfer(transfer, request, { key: KEY, clock: new FakeClock() });
}

test('the journal forgets blocks and has the shorter size before the file is cut', async () => {
  await using the = await claimed();
  assert.equal(await resized(the.transfer, 1), 'resized');
  assert.deepEqual(the.notes, ['forget 1,2', 'set claim', 'prepare', 'prepare done']);
  assert.equal((await seal(the.transfer, 1)).outcome, 'sealed');
});

test('a file is longer before the journal has the longer size', async () => {
  await using the = await claimed();
  assert.equal(await resized(the.transfer, 4), 'resized');
  assert.deepEqual(the.notes, ['prepare', 'prepare done', 'set claim']);
});

test('whichever step fails, the transfer continues with one of the sizes, also after a restart', async () => {
  for (const step of ['forget', 'set claim', 'prepare']) {
    for (const isRestarted of [false, true]) {
      let isFailing = false;
      await using the = await claimed((text) => {
        if (isFailing && text.startsWith(step)) throw new TransferError('no-space', 'full');
      });
      isFailing = true;
      await assert.rejects(resized(the.transfer, 1), coded('no-space'), step);
      isFailing = false;
      const transfer = isRestarted ? the.restarted() : the.transfer;
      if (isRestarted) await restoreLength(transfer);
      const { blockCount, table } = transfer.claimed();
      assert.equal(blockCount, step === 'prepare' ? 1 : 3, step);
      for (let index = 0; index < blockCount; index++) {
        const isForgotten = step === 'set claim' && index > 0;
        assert.equal(table.stateOf(index), isForgotten ? 'absent' : 'durable', `${step}: block ${index}`);
        await the.put(transfer, index);
      }
      assert.equal((await seal(transfer, blockCount)).outcome, 'sealed');
      assert.equal(await the.target.lengthBytes(), blockCount * BLOCK_BYTES, step);
    }
  }
});

test('a file that got longer for a claim that failed is sealed with its old length', async () => {
  for (const step of ['prepare done', 'set claim']) {
    let isFailing = false;
    await using the = await claimed((text) => {
      if (isFailing && text === step) throw new TransferError('no-space', 'full');
    });
    isFailing = true;
    await assert.rejects(resized(the.transfer, 4), coded('no-space'), step);
    isFailing = false;
    assert.equal(await the.target.lengthBytes(), 4 * BLOCK_BYTES, step);
    assert.equal((await seal(the.transfer, 3)).outcome, 'sealed');
    assert.equal(await the.target.lengthBytes(), 3 * BLOCK_BYTES, step);
  }
});

test('a seal that was asked for before is of no size any more', async () => {
  await using the = await claimed();
  await writeZeroBlocks(the.transfer, [[0, 1]], false);
  using gate = the.target.hold('flush');
  const resizing = resized(the.transfer, 4);
  await gate.arrived();
  const sealing = seal(the.transfer, 3);
  await settle();
  gate.open();
  assert.equal(await resizing, 'resized');
  await assert.rejects(sealing, coded('io-error', { message: /the size of the transfer has changed/ }));
  assert.equal(the.transfer.sealed, undefined);
});

test('a transfer that was sealed while the claim waited keeps its size', async () => {
  await using the = await claimed();
  using gate = the.target.hold('flush');
  const sealing = seal(the.transfer, 3);
  await gate.arrived();
  gate.letOthersPass();
  const resizing = resized(the.transfer, 1);
  gate.open();
  assert.equal((await sealing).outcome, 'sealed');
  await assert.rejects(resizing, coded('sealed'));
  assert.deepEqual([the.transfer.status().size, the.transfer.status().state], [3 * BLOCK_BYTES, 'sealed']);
});

test('a failed flush of before is known to the blocks of the new size', async () => {
  await using the = await claimed();
  const { epoch } = the.transfer;
  const { durability } = the.transfer.claimed();
  await resized(the.transfer, 4);
  assert.equal(the.transfer.claimed().durability, durability, 'one that flushes');
  assert.equal(the.transfer.epoch, epoch);
  the.target.arm({ operation: 'flush', errno: 'EIO' });
  await assert.rejects(durability.flushEverything(), coded('io-error'));
  assert.notEqual(the.transfer.epoch, epoch);
});

test('a block that a claim has forgotten is not reported as durable', async () => {
  await using the = await claimed();
  await writeZeroBlocks(the.transfer, [[1, 2]], false);
  using gate = the.target.hold('flush');
  const flushing = the.transfer.claimed().durability.flush();
  await gate.arrived();
  // Both wait for the next flush.
  const put = the.put(the.transfer, 2);
  await settle();
  const resizing = resized(the.transfer, 1);
  await settle();
  gate.open();
  await assert.rejects(put, coded('io-error', { message: /send the block again/ }));
  await flushing;
  assert.equal(await resizing, 'resized');
});
