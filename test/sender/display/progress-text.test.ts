import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { BlockCounters, DoneFacts } from '../../../sender/transfer/counters.ts';
import {
  doneEvent,
  doneText,
  progressEvent,
  progressLine,
  type Snapshot,
} from '../../../sender/display/progress-text.ts';

const MIB = 1024 * 1024;
const COUNTERS: BlockCounters = {
  total: 238_475,
  read: 90_700,
  durable: 90_685,
  verified: 0,
  sent: 90_000,
  skipped: 500,
  zero: 185,
  resent: 0,
};
const SNAPSHOT: Snapshot = {
  counters: COUNTERS,
  bytesTotal: 1_000_204_886_016,
  blockSizeBytes: 4 * MIB,
  bytesWire: 380_000_000_000,
  bytesPerSecond: 11_500_000.4,
  connections: 8,
  secondsLeft: 49_200,
};
const FACTS: DoneFacts = {
  counters: { ...COUNTERS, durable: COUNTERS.total, resent: 3 },
  bytesTotal: 1_000_204_886_016,
  bytesWire: 2048,
  seconds: 125.00049,
  root: `sha256:${'0'.repeat(64)}`,
  verified: 'none',
  unreadable: [],
};

function lineOf(changes: Partial<Snapshot>, counters: Partial<BlockCounters> = {}): string {
  return progressLine({ ...SNAPSHOT, ...changes, counters: { ...COUNTERS, ...counters } });
}

test('the progress event has exactly the promised members', () => {
  assert.deepEqual(progressEvent(SNAPSHOT), {
    event: 'progress',
    blocksTotal: 238_475,
    blocksDurable: 90_685,
    blocksVerified: 0,
    bytesTotal: 1_000_204_886_016,
    bytesWire: 380_000_000_000,
    bytesPerSecond: 11_500_000,
    connections: 8,
    secondsLeft: 49_200,
  });
  assert.equal(progressEvent({ ...SNAPSHOT, secondsLeft: null })['secondsLeft'], null);
});

test('the done event has exactly the promised members', () => {
  assert.deepEqual(doneEvent(FACTS), {
    event: 'done',
    blocksTotal: 238_475,
    blocksSent: 90_000,
    blocksSkipped: 500,
    blocksZero: 185,
    blocksResent: 3,
    bytesTotal: 1_000_204_886_016,
    bytesWire: 2048,
    seconds: 125,
    root: `sha256:${'0'.repeat(64)}`,
    verified: 'none',
  });
});

test('a line says how much is durable, how fast it goes and when it ends', () => {
  assert.equal(progressLine(SNAPSHOT), ' 38 %  354.2 GiB durable  92.0 Mbit/s  8 connections  ETA 13 h 40 m');
  assert.match(lineOf({ secondsLeft: null }), / {2}ETA unknown$/);
  assert.match(lineOf({}, { resent: 7 }), / {2}7 resent {2}ETA/);
});

test('a line says what has been read back, too', () => {
  assert.match(lineOf({}, { verified: 90_600 }), /  354\.2 GiB durable  353\.9 GiB verified  92\.0 Mbit/);
  assert.equal(progressEvent({ ...SNAPSHOT, counters: { ...COUNTERS, verified: 7 } })['blocksVerified'], 7);
});

test('of a source that may have any size there is no total, no share and no end', () => {
  const unknown = { bytesTotal: null, secondsLeft: null };
  assert.equal(lineOf(unknown), '354.2 GiB durable  92.0 Mbit/s  8 connections');
  const { blocksTotal, bytesTotal, secondsLeft, blocksDurable } = progressEvent({ ...SNAPSHOT, ...unknown });
  assert.deepEqual([blocksTotal, bytesTotal, secondsLeft, blocksDurable], [null, null, null, 90_685]);
});

test('100 % is said when all is durable and not before', () => {
  for (const [durable, total, percent] of [
    [0, 3, '  0 %'],
    [2, 3, ' 66 %'],
    [199, 200, ' 99 %'],
    [2 ** 32 - 1, 2 ** 32, ' 99 %'],
    [200, 200, '100 %'],
    [0, 0, '100 %'],
  ] as const) {
    assert.equal(lineOf({}, { durable, total }).slice(0, 5), percent, `${durable} of ${total}`);
  }
});

test('never more is durable than the disk has, though its last block is short', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 * MIB }), (lastLength) => {
      const bytesTotal = 4 * MIB + lastLength;
      const full = lineOf({ bytesTotal }, { total: 2, durable: 2 });
      assert.equal(full.split('  ')[1], lineOf({ bytesTotal }, { total: 2, durable: 99 }).split('  ')[1]);
    }),
  );
  assert.match(lineOf({ bytesTotal: 513 }, { total: 1, durable: 1 }), /^100 % {2}513 bytes durable/);
});

test('the last words name the target, the counts and the root, and say how it was verified', () => {
  assert.equal(
    doneText(FACTS, '/dev/vdd'),
    `done     238475 blocks, 931.5 GiB, on /dev/vdd: durable, NOT read back
blocks   237975 of 238475 blocks had changed or were missing and were sent, 185 of them as zeros; 3 resent
line     2 KiB in 2 m 5 s
root     sha256:${'0'.repeat(64)}
`,
  );
  const fresh = { ...FACTS, counters: { ...FACTS.counters, skipped: 0 } };
  assert.match(doneText(fresh, '/dev/vdd'), /^blocks {3}90000 sent, 185 zero, 3 resent$/m);
  assert.match(
    doneText({ ...FACTS, verified: 'read-back' }, '/dev/vdd'),
    /on \/dev\/vdd: durable, read back and equal\n/,
  );
});
