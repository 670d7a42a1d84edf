import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ZERO_RANGES_MAX } from '../../../common/protocol/protocol.ts';
import { countOf } from '../../../common/ranges.ts';
import { ZeroBatches } from '../../../sender/transfer/zero-batches.ts';

const MIB = 1024 * 1024;

/** So many blocks in a row make a batch full. */
function blocksPerBatch(batches: ZeroBatches): number {
  for (let index = 0; ; index++) {
    const ranges = batches.add(index);
    if (ranges === undefined) continue;
    assert.deepEqual(ranges, [[0, index + 1]]);
    return index + 1;
  }
}

test('a batch is full at 128 MiB, whatever the block size is', () => {
  for (const [blockSizeBytes, count] of [
    [16 * MIB, 8],
    [4 * MIB, 32],
    [MIB, 128],
    [64 * 1024, 2048],
  ] as const) {
    const batches = new ZeroBatches(blockSizeBytes);
    assert.equal(blocksPerBatch(batches), count);
    assert.equal(blocksPerBatch(batches), count, 'and the next one as well');
  }
});

test('batches grow while they are quick, shrink when they are slow, within bounds', () => {
  const batches = new ZeroBatches(4 * MIB);
  batches.noteDuration(999);
  assert.equal(blocksPerBatch(batches), 64);
  for (const fair of [1000, 3000, 5000]) batches.noteDuration(fair);
  assert.equal(blocksPerBatch(batches), 64);
  batches.noteDuration(5001);
  assert.equal(blocksPerBatch(batches), 32);
  for (let times = 0; times < 50; times++) batches.noteDuration(60_000);
  assert.equal(blocksPerBatch(batches), 4, '16 MiB');
  for (let times = 0; times < 50; times++) batches.noteDuration(0);
  assert.equal(blocksPerBatch(batches), 4096, '16 GiB');
});

test('one block of the largest size fills the smallest batch', () => {
  const batches = new ZeroBatches(16 * MIB);
  for (let times = 0; times < 50; times++) batches.noteDuration(60_000);
  assert.deepEqual(batches.add(7), [[7, 1]]);
});

test('no request has more ranges than the receiver takes', () => {
  const batches = new ZeroBatches(64 * 1024);
  for (let times = 0; times < 50; times++) batches.noteDuration(0);
  for (let at = 0; at < ZERO_RANGES_MAX - 1; at++) assert.equal(batches.add(at * 2), undefined);
  assert.equal(batches.add(ZERO_RANGES_MAX * 2)?.length, ZERO_RANGES_MAX);
});

test('the rest comes out once at the end', () => {
  const batches = new ZeroBatches(4 * MIB);
  for (const index of [9, 3, 4, 8]) assert.equal(batches.add(index), undefined);
  assert.deepEqual(batches.takeAll(), [
    [3, 2],
    [8, 2],
  ]);
  assert.deepEqual(batches.takeAll(), []);
});

test('every block that is added comes out in exactly one batch', () => {
  const input = fc.array(fc.oneof(fc.nat(5), fc.constant('quick' as const), fc.constant('slow' as const)));
  fc.assert(
    fc.property(input, (steps) => {
      const batches = new ZeroBatches(16 * MIB);
      let [next, count] = [0, 0];
      const out = new Set<number>();
      const take = (ranges: ReturnType<ZeroBatches['takeAll']>): void => {
        for (const [first, length] of ranges) {
          for (let index = first; index < first + length; index++) out.add(index);
        }
        count += countOf(ranges);
      };
      const into: number[] = [];
      for (const step of steps) {
        if (typeof step === 'string') batches.noteDuration(step === 'quick' ? 0 : 9999);
        else {
          next += step + 1;
          into.push(next);
          take(batches.add(next) ?? []);
        }
      }
      take(batches.takeAll());
      assert.deepEqual([...out], into);
      assert.equal(count, into.length);
    }),
  );
});
