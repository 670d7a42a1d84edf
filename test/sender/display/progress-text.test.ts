import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { BlockCounters, DoneFacts } from '../../../sender/transfer/counters.ts';
import type { Snapshot } from '../../../sender/display/progress-columns.ts';
import { doneEvent, doneText, progressEvent, progressLine } from '../../../sender/display/progress-text.ts';

const MIB = 1024 * 1024;
const COUNTERS: BlockCounters = {
  total: 238_475,
  read: 90_700,
  durable: 90_685,
  verified: 0,
  sent: 90_000,
  copied: 0,
  skipped: 500,
  zero: 185,
  resent: 0,
};
const SNAPSHOT: Snapshot = {
  counters: COUNTERS,
  bytesTotal: 1_000_204_886_016,
  blockSizeBytes: 4 * MIB,
  bytesArrived: 380_400_000_000.5,
  bytesWire: 380_000_000_000,
  bytesPerSecond: 11_500_000.4,
  lineBytesPerSecond: 5_000_000.4,
  limitBytesPerSecond: undefined,
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
  readBack: null,
  verifiedAt: null,
  unreadable: [],
  leftOut: null,
};

function lineOf(changes: Partial<Snapshot>, counters: Partial<BlockCounters> = {}): string {
  return progressLine({ ...SNAPSHOT, ...changes, counters: { ...COUNTERS, ...counters } });
}

test('the progress event has exactly the promised members', () => {
  assert.deepEqual(progressEvent(SNAPSHOT), {
    event: 'progress',
    percent: 38,
    blocksTotal: 238_475,
    blocksDurable: 90_685,
    blocksVerified: 0,
    bytesTotal: 1_000_204_886_016,
    bytesArrived: 380_400_000_000,
    bytesWire: 380_000_000_000,
    bytesPerSecond: 11_500_000,
    lineBytesPerSecond: 5_000_000,
    connections: 8,
    blocksResent: 0,
    secondsLeft: 49_200,
  });
  assert.equal(progressEvent({ ...SNAPSHOT, secondsLeft: null })['secondsLeft'], null);
});

test('the done event has exactly the promised members', () => {
  assert.deepEqual(doneEvent(FACTS), {
    event: 'done',
    blocksTotal: 238_475,
    blocksSent: 90_000,
    blocksCopied: 0,
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

test('a line shows how much is durable, both rates, and when the copy will be done', () => {
  assert.equal(
    progressLine(SNAPSHOT),
    ' 38 %  354.2 GiB durable  92.0 Mbit/s  line 40.0 Mbit/s  8 connections  ETA 13 h 40 m',
  );
  assert.match(lineOf({ secondsLeft: null }), / {2}ETA unknown$/);
  assert.match(lineOf({}, { resent: 7 }), / {2}7 resent {2}ETA/);
});

test('a line shows how much was read back', () => {
  assert.match(lineOf({}, { verified: 90_600 }), /  354\.2 GiB durable  353\.9 GiB verified  92\.0 Mbit/);
  assert.equal(progressEvent({ ...SNAPSHOT, counters: { ...COUNTERS, verified: 7 } })['blocksVerified'], 7);
});

test('for a source of unknown size there is no total, no percentage and no ETA', () => {
  const unknown = { bytesTotal: null, secondsLeft: null };
  assert.equal(lineOf(unknown), '354.2 GiB durable  92.0 Mbit/s  line 40.0 Mbit/s  8 connections');
  const event = progressEvent({ ...SNAPSHOT, ...unknown });
  const { percent, blocksTotal, bytesTotal, secondsLeft, blocksDurable } = event;
  assert.deepEqual(
    [percent, blocksTotal, bytesTotal, secondsLeft, blocksDurable],
    [null, null, null, null, 90_685],
  );
});

test('the percentage follows what has arrived; 100 % means durable, and verified if at all', () => {
  for (const [arrived, durable, verified, percent] of [
    [0, 0, 0, '  0 %'],
    [0.000_9, 0, 0, '  0 %'],
    [0.007, 0, 0, '0.7 %'],
    [0.0999, 0, 0, '9.9 %'],
    [0.1, 0, 0, ' 10 %'],
    [0.66, 132, 0, ' 66 %'],
    [1, 199, 0, ' 99 %'],
    [1, 200, 0, '100 %'],
    [1, 200, 199, ' 99 %'],
    [1, 200, 200, '100 %'],
  ] as const) {
    const line = lineOf(
      { bytesTotal: 10_000, bytesArrived: arrived * 10_000 },
      { total: 200, durable, verified },
    );
    assert.equal(line.slice(0, 5), percent, `${arrived}, ${durable} durable, ${verified} verified`);
  }
  assert.equal(lineOf({ bytesTotal: 0, bytesArrived: 0 }, { total: 0, durable: 0 }).slice(0, 5), '100 %');
});

test('while nothing is durable yet it shows what was sent', () => {
  const slow = {
    bytesArrived: 7_340_032.4,
    bytesPerSecond: 400 * 1024,
    lineBytesPerSecond: 409_600,
    secondsLeft: null,
  };
  assert.equal(
    lineOf({ ...slow, bytesTotal: 1_000_000_000 }, { durable: 0 }),
    '0.7 %  7 MiB sent  3.3 Mbit/s  line 3.3 Mbit/s  8 connections  ETA unknown',
  );
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
  const equal = { ...FACTS, verified: 'read-back' } as const;
  for (const readBack of [null, 'direct', 'cache-dropped'] as const) {
    const text = doneText({ ...equal, readBack }, '/dev/vdd');
    assert.match(text, /on \/dev\/vdd: durable, read back and equal\n/);
  }
});

test('what is only the word of an NBD server is called that, and programs see it', () => {
  const served = { ...FACTS, verified: 'read-back', readBack: 'nbd-server' } as const;
  const name = 'nbd://vm/';
  assert.match(doneText(served, name), /vm\/: durable, read back and equal, as its NBD server says\n/);
  const { total } = FACTS.counters;
  const again = {
    ...served,
    counters: { ...FACTS.counters, skipped: total },
    verifiedAt: '2026-11-29T12:00:00Z',
  };
  assert.match(doneText(again, name), / equal, as its NBD server says \(2026-11-29 12:00:00 UTC\)\n/);
  const { verified, readBack } = doneEvent(served);
  assert.deepEqual([verified, readBack], ['read-back', 'nbd-server']);
});
