/** Reading back while the journal's disk is full. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock, type Clock } from '../../../common/clock.ts';
import { SHA256, ZeroDigests } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { BlockTable } from '../../../receiver/durability/block-table.ts';
import type { Journal } from '../../../receiver/journal/journal.ts';
import { RangeLocks } from '../../../receiver/durability/range-locks.ts';
import type { Target } from '../../../receiver/target/target.ts';
import { Verifier } from '../../../receiver/durability/verify-blocks.ts';
import { bounded } from '../../support/processes.ts';

/** In a hurry. */
const clock: Clock = { ...systemClock, sleep: async (_ms, signal) => await systemClock.sleep(20, signal) };
const geometry = { sizeBytes: 65536, blockSizeBytes: 65536 };

/** A durable block of zeros that reads back different; `onWrite` is called at each change of the journal. */
function verifierOf(onWrite: () => void): { verifier: Verifier; table: BlockTable } {
  const zeroDigests = new ZeroDigests(geometry, SHA256);
  const table = new BlockTable(1);
  table.set(0, 'durable', zeroDigests.of(0));
  const target = {
    readBack: async (into: Buffer) => {
      into.fill(1);
      return await Promise.resolve('direct');
    },
    writeMark: async () => await Promise.resolve({ foreignBytes: 0, stamp: '' }),
  } as Partial<Target> as Target;
  const journal = {
    forgetBlocks: () => onWrite(),
  } as Partial<Journal> as Journal;
  const events = { onJournalBroken: (error: TransferError) => assert.fail(error) };
  const parts = { target, journal, table, locks: new RangeLocks(), geometry, zeroDigests, events };
  return { verifier: new Verifier({ ...parts, clock, digest: SHA256.of, isSealed: () => false }), table };
}

test('readers that wait for room for the journal end when they are told to', async () => {
  const tried = Promise.withResolvers<void>();
  let tries = 0;
  const { verifier, table } = verifierOf(() => {
    tried.resolve();
    // Not for ever, so that a failure of this test ends.
    if (++tries < 500) throw new TransferError('no-space', 'no room');
  });
  verifier.wake();
  await tried.promise;
  assert.equal(table.stateOf(0), 'durable');
  await bounded('the readers to end', verifier.stop(), 5000);
});
