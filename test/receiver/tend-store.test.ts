/** What a receiver does for its object store every hour. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../common/errors.ts';
import { tendStore } from '../../receiver/tend-store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeStoreTarget } from '../support/fake-store.ts';
import { MemoryTarget } from '../support/memory-target.ts';
import { openTransfer, putBlock } from '../support/open-transfer.ts';

const HOUR_MS = 3_600_000;

test('every hour it gives a sign of life and looks for condemned blocks, until it is disposed', async () => {
  const target = new FakeStoreTarget();
  const { store } = target;
  await using receiver = await openTransfer({ target, isReadBack: true });
  const { transfer, open } = receiver;
  const clock = new FakeClock();
  const warnings: string[] = [];
  const log = { warning: (message: string): void => void warnings.push(message) };
  const tending = await tendStore(transfer, { clock, log });
  assert.deepEqual([store.tendCount, store.kept.length], [1, 1]);
  await clock.advance(2 * HOUR_MS);
  assert.deepEqual([store.tendCount, store.kept.length], [3, 3]);
  store.failure = new TransferError('io-error', 'no answer');
  await clock.advance(HOUR_MS);
  store.failure = undefined;
  assert.deepEqual(warnings, ['cannot look after the store; trying again: no answer']);
  await putBlock(receiver, 0, 1, true);
  await open.verifier?.settle();
  assert.equal(open.table.stateOf(0), 'verified');
  store.isLate = true;
  await clock.advance(HOUR_MS);
  assert.match(warnings[1] ?? '', /was not looked at for many hours.*all is read again$/);
  assert.equal(open.verifier?.doubts, 1);
  tending[Symbol.dispose]();
  const { tendCount } = store;
  await clock.advance(HOUR_MS);
  assert.deepEqual([store.tendCount, clock.sleeperCount], [tendCount, 0]);
});

test('another target is left alone', async () => {
  await using receiver = await openTransfer({ target: new MemoryTarget() });
  const clock = new FakeClock();
  using _tending = await tendStore(receiver.transfer, { clock, log: { warning: assert.fail } });
  assert.equal(clock.sleeperCount, 0);
});
