/**
 * As in SQLite's tests: the first, the second, … operation of each kind fails, in every possible way, once
 * and for ever, until the transfer completes without reaching it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDigests } from './contents.ts';
import { FAULTS, LIES, NthFault, type Fault, type Operation } from './faults.ts';
import { PLAIN_PROFILE } from './profile.ts';
import { Simulation, type SimulationResult } from './simulation.ts';

const OPERATIONS = Object.keys(FAULTS) as Operation[];
/** More operations of any kind than a transfer of 16 blocks has. */
const OPERATIONS_MAX = 300;
const IMPATIENT_MS = 120_000;

/** Failures that a sender cannot recover from: somebody has to act. */
const ENDS_A_RUN = new Set<Fault>([
  'sourceEio',
  'sourceShort',
  'sourceChange',
  'senderKill',
  'senderInterrupt',
  // When the claim or the seal cannot be journalled the response says so, and a person decides.
  'commitBroken',
]);

/** How a transfer may end while a fault lasts, besides `sealed` if the fault does not matter. */
const ENDS: Partial<Record<Fault, readonly string[]>> = {
  sourceEio: ['source-read'],
  sourceShort: ['source-changed'],
  sourceChange: ['source-changed', 'differs'],
  sourceBad: ['source-changed'],
  writeEio: ['io-error'],
  writeFull: ['no-progress'],
  writeLost: ['verify-failed', 'target-refused'],
  writeTorn: ['verify-failed', 'target-refused'],
  writeMisdirected: ['verify-failed', 'target-refused'],
  writeFlipped: ['verify-failed', 'target-refused'],
  flushEio: ['io-error'],
  readBackEio: ['verify-failed', 'no-progress'],
  readBackFlip: ['verify-failed', 'no-progress'],
  restFlip: ['verify-failed', 'target-refused'],
  commitFull: ['no-progress'],
  commitBroken: ['journal-error', 'no-progress', 'io-error'],
  commitDeath: ['no-progress', 'io-error'],
  openRefused: ['no-progress'],
  lineCorrupt: ['digest-mismatch'],
};
const LINE_ENDS = ['no-progress'];

const digests = new BlockDigests();

async function runWith(faults: NthFault, isLying: boolean): Promise<SimulationResult> {
  // Waiting for ever ends sooner.
  const retryForMs = faults.isForever ? IMPATIENT_MS : PLAIN_PROFILE.retryForMs;
  const profile = { ...PLAIN_PROFILE, isLying, retryForMs };
  return await new Simulation({ seed: 1, profile, faults, digests }).run();
}

/** One run for each operation that the fault can hit. @returns the number of runs. */
async function loop(
  fault: Fault,
  isForever: boolean,
  check: (result: SimulationResult, which: string) => void,
): Promise<number> {
  for (let n = 1; n < OPERATIONS_MAX; n++) {
    const faults = new NthFault(fault, n, isForever);
    const result = await runWith(faults, LIES.includes(fault));
    const which = `${fault} at operation ${n}${isForever ? ' and from then on' : ''}`;
    assert.equal(result.violation, undefined, which);
    if (faults.hitCount === 0) return n - 1;
    check(result, which);
  }
  throw new assert.AssertionError({ message: `${fault}: the loop does not end` });
}

for (const operation of OPERATIONS) {
  test(`whichever ${operation} fails once, the transfer is sealed`, async () => {
    for (const fault of FAULTS[operation]) {
      const count = await loop(fault, false, ({ outcome, sends }, which) => {
        assert.equal(outcome, 'sealed', which);
        if (!ENDS_A_RUN.has(fault)) assert.equal(sends, 1, `${which}: the sender does not come through`);
      });
      assert(count > 0, fault);
    }
  });
}

for (const operation of OPERATIONS.filter((name) => name !== 'process')) {
  test(`whichever ${operation} fails for ever, the transfer ends with the right error`, async () => {
    for (const fault of FAULTS[operation]) {
      const ends = ENDS[fault] ?? LINE_ENDS;
      await loop(fault, true, ({ outcome }, which) => {
        assert(outcome === 'sealed' || ends.includes(outcome), `${which}: ${outcome}`);
      });
    }
  });
}

test('without a fault, a transfer of sixteen blocks uses each kind of operation', async () => {
  const faults = new NthFault(undefined);
  const { outcome, violation } = await runWith(faults, false);
  assert.deepEqual([outcome, violation], ['sealed', undefined]);
  for (const operation of OPERATIONS) assert(faults.countOf(operation) > 0, operation);
  assert(faults.countOf('flush') > 1);
});
