import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Area } from '../../common/areas.ts';
import { digestNow } from '../../common/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { Attempts } from '../../sender/attempts.ts';
import type { ReadBlock } from '../../sender/read-block.ts';
import type { BlockHead, ReceiverClient } from '../../sender/receiver-port.ts';
import { sendBlock } from '../../sender/send-block.ts';
import { FakeClock } from '../support/fake-clock.ts';

const bytes = Buffer.alloc(512);
const digest = digestNow(bytes);

/** The first PUT is carried out or not, and its answer is lost. @returns how often it was put. */
async function putsOf(unreadable: readonly Area[], head: BlockHead | 'absent'): Promise<number> {
  const clock = new FakeClock();
  let puts = 0;
  const lane = {
    headBlock: async () => await Promise.resolve(head),
    putBlock: async () => {
      puts++;
      if (puts === 1) throw new TransferError('connection-failed', 'cut');
      return await Promise.resolve({ transferId: 't', epoch: 'e', generation: 2 });
    },
  } as unknown as ReceiverClient;
  const attempts = new Attempts({ clock, random: () => 0, retryForMs: 1000, onRetry: () => {} });
  const block: ReadBlock = { index: 0, bytes, digest, isZero: true, unreadable };
  const counters = { total: 1, read: 0, durable: 0, verified: 0, sent: 0, skipped: 0, zero: 0, resent: 0 };
  const check = async (): Promise<void> => await Promise.resolve();
  const { signal } = new AbortController();
  const sending = sendBlock(lane, block, { transferId: 't', attempts, counters, check, signal });
  await clock.advance(1000);
  assert.equal((await sending).epoch, 'e');
  return puts;
}

test('a block whose answer was lost is sent again unless it is there with its areas', async () => {
  const there: BlockHead = { digest, state: 'durable', generation: 1, epoch: 'e', sourceErrors: '' };
  const damaged = { ...there, sourceErrors: '0+512' };
  assert.equal(await putsOf([], there), 1);
  assert.equal(await putsOf([[0, 512]], damaged), 1);
  assert.equal(await putsOf([], damaged), 2);
  assert.equal(await putsOf([[0, 512]], there), 2);
  assert.equal(await putsOf([], 'absent'), 2);
});
