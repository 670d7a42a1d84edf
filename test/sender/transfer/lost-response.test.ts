import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Area } from '../../../common/areas.ts';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { Semaphore } from '../../../common/semaphore.ts';
import { Retries } from '../../../sender/transfer/retry.ts';
import type { BlockHead } from '../../../sender/client/receiver-port.ts';
import { BlockSender } from '../../../sender/transfer/send-block.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { fakeLane } from '../../support/fake-lane.ts';

const bytes = Buffer.alloc(512);
const digest = digestNow(bytes);
const algorithm = 'sha-256';
const lanes = { permitToSend: async () => await new Semaphore(1).take() };

/** The response to the first PUT is lost; it was carried out or not. @returns the number of PUTs. */
async function putsOf(unreadable: readonly Area[], head: BlockHead | 'absent'): Promise<number> {
  const clock = new FakeClock();
  let puts = 0;
  const lane = fakeLane({
    headBlock: async () => await Promise.resolve(head),
    putBlock: async () => {
      puts++;
      if (puts === 1) throw new TransferError('connection-failed', 'cut');
      const about = { transferId: 't', epoch: 'e', index: 0, offset: 0, length: bytes.length };
      const what = { sha256: digest.toString('hex'), state: 'written', generation: 2 } as const;
      return await Promise.resolve({ ...about, ...what });
    },
  });
  const sender = new BlockSender({
    transferId: 't',
    check: async () => await Promise.resolve(),
    retries: new Retries({ clock, random: () => 0, retryForMs: 1000, onRetry: () => {} }),
    counters: {
      total: 1,
      read: 0,
      durable: 0,
      verified: 0,
      sent: 0,
      copied: 0,
      skipped: 0,
      zero: 0,
      resent: 0,
    },
    clock,
    signal: new AbortController().signal,
    lanes,
    reporter: { fact: () => {} },
  });
  const sending = sender.send(lane, { index: 0, bytes, digest, algorithm, isZero: true, unreadable });
  await clock.advance(1000);
  assert.equal((await sending)?.epoch, 'e');
  return puts;
}

test('a block whose response was lost is sent again unless the target has it', async () => {
  const there: BlockHead = {
    digest,
    algorithm,
    state: 'durable',
    generation: 1,
    epoch: 'e',
    sourceErrors: '',
  };
  const damaged = { ...there, sourceErrors: '0+512' };
  assert.equal(await putsOf([], there), 1);
  assert.equal(await putsOf([[0, 512]], damaged), 1);
  assert.equal(await putsOf([], damaged), 2);
  assert.equal(await putsOf([[0, 512]], there), 2);
  assert.equal(await putsOf([], 'absent'), 2);
  assert.equal(await putsOf([], { ...there, algorithm: 'blake3' }), 2, 'another algorithm');
});

test('a block that is cut off twice after minutes is reported', async () => {
  const reported: string[] = [];
  const clock = new FakeClock();
  let puts = 0;
  const lane = fakeLane({
    headBlock: async () => await Promise.resolve('absent' as const),
    putBlock: async () => {
      await clock.sleep(++puts === 1 ? 59_000 : 300_000);
      throw new TransferError('connection-failed', 'cut');
    },
  });
  const ending = new AbortController();
  const sender = new BlockSender({
    transferId: 't',
    check: async () => await Promise.resolve(),
    retries: new Retries({ clock, random: () => 0, retryForMs: 3_600_000, onRetry: () => {} }),
    counters: {
      total: 1,
      read: 0,
      durable: 0,
      verified: 0,
      sent: 0,
      copied: 0,
      skipped: 0,
      zero: 0,
      resent: 0,
    },
    clock,
    signal: ending.signal,
    lanes,
    reporter: { fact: (text) => reported.push(text) },
  });
  const sending = sender.send(lane, {
    index: 0,
    bytes,
    digest,
    algorithm: 'sha-256',
    isZero: false,
    unreadable: [],
  });
  const ended = assert.rejects(sending, { code: 'interrupted' });
  await clock.advance(400_000);
  assert.deepEqual(reported, []);
  await clock.advance(1_200_000);
  const what = 'a block of 512 bytes was cut off twice after more than a minute';
  assert.deepEqual(reported, [
    `note     ${what}: smaller blocks would get through (see docs/guide/interruptions.md)`,
  ]);
  ending.abort(new TransferError('interrupted', 'enough'));
  await clock.advance(400_000);
  await ended;
});
