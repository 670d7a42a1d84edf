import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WatchResult } from '../../../common/watch/watch-status.ts';
import type { DoneFacts } from '../../../sender/transfer/counters.ts';
import { resultOf, resultOfSeveral } from '../../../sender/watch/run-result.ts';

const FACTS: DoneFacts = {
  counters: {
    total: 16,
    read: 16,
    durable: 16,
    verified: 16,
    sent: 16,
    copied: 0,
    skipped: 0,
    zero: 0,
    resent: 0,
  },
  bytesTotal: 1_048_576,
  bytesWire: 1_000_000,
  seconds: 61,
  root: 'sha256:00',
  verified: 'read-back',
  readBack: 'direct',
  verifiedAt: '2026-11-29T12:00:00Z',
  unreadable: [],
  leftOut: null,
};
const done = (facts: Partial<DoneFacts> = {}): WatchResult =>
  resultOf({ kind: 'done', facts: { ...FACTS, ...facts }, targetPath: '/dev/vdd' }, '/dev/sdc: a disk');

test('only what was read back whole is called proven', () => {
  const proven = done();
  assert.deepEqual([proven.kind, proven.title], ['proven', 'Proven equal']);
  assert.match(
    proven.lines.join(' '),
    /^Every byte on \/dev\/vdd .* past every cache, .* from \/dev\/sdc\. .* 16 blocks, 1 MiB, in 1 m 1 s/,
  );
  const served = done({ readBack: 'nbd-server' });
  assert.equal(served.kind, 'proven');
  assert.match(served.lines.join(' '), /read back, as its NBD server says, and is what was read from/);
  const dropped = done({ readBack: 'cache-dropped' });
  assert.match(dropped.lines.join(' '), /read back after the page cache was dropped, and is what/);
  assert.deepEqual(
    [done({ verified: 'none' }).kind, done({ verified: 'none' }).title],
    ['unproven', 'Copied, not read back'],
  );
  const damaged = done({ unreadable: [[512, 1024]] });
  assert.equal(damaged.kind, 'unproven');
  assert.match(damaged.lines[0] ?? '', /^1024 bytes in 1 area of \/dev\/sdc could not be read/);
  const kept = resultOf({ kind: 'kept-open', facts: FACTS, targetPath: '/dev/vdd' }, null);
  assert.deepEqual([kept.kind, kept.title], ['unproven', 'Copied, not sealed']);
  const failed = resultOf({ kind: 'failed', error: { message: 'it broke', hint: 'run it again' } }, null);
  assert.deepEqual(failed, { kind: 'failed', title: 'Not complete', lines: ['it broke', 'run it again'] });
});

test('of several disks the result is never better than the worst, nor before all have ended', () => {
  const failed = resultOf({ kind: 'failed', error: { message: 'it broke', hint: undefined } }, null);
  const two = [
    { name: 'a onto b', result: failed },
    { name: 'c onto d', result: done() },
  ];
  const worst = resultOfSeveral(two, 2);
  assert.deepEqual([worst.kind, worst.title], ['failed', '2 of 2 disks: Not complete']);
  assert.deepEqual(worst.lines[0], 'a onto b: Not complete. it broke');
  assert.equal(resultOfSeveral(two.slice(1), 2).kind, 'unproven');
  const all = resultOfSeveral([...two.slice(1), ...two.slice(1)], 2);
  assert.deepEqual([all.kind, all.title], ['proven', 'Proven equal: all 2 disks']);
});
