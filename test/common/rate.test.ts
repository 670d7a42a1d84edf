import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { RateMeter } from '../../common/rate.ts';

/** Samples of a line at a constant rate. */
function steady(bytesPerSecond: number, seconds: number): RateMeter {
  const meter = new RateMeter();
  for (let at = 0; at <= seconds; at++) meter.add(at * 1000, at * bytesPerSecond);
  return meter;
}

test('there is no rate before time has passed', () => {
  const meter = new RateMeter();
  assert.equal(meter.bytesPerSecond, 0);
  meter.add(0, 0);
  assert.equal(meter.bytesPerSecond, 0);
  meter.add(0, 5000);
  assert.equal(meter.bytesPerSecond, 0);
});

test('a steady line has its own rate, after a second and after a day', () => {
  for (const seconds of [1, 29, 30, 31, 86_400]) assert.equal(steady(1000, seconds).bytesPerSecond, 1000);
});

test('what happened more than half a minute ago does not count', () => {
  const meter = steady(1_000_000, 100);
  for (let at = 101; at <= 130; at++) meter.add(at * 1000, 100_000_000);
  assert(meter.bytesPerSecond > 0, 'still within the window');
  meter.add(131_000, 100_000_000);
  meter.add(132_000, 100_000_000);
  assert.equal(meter.bytesPerSecond, 0);
});

test('a total that shrinks, because blocks turned out to be missing, gives no negative rate', () => {
  const meter = steady(1000, 10);
  meter.add(11_000, 500);
  assert.equal(meter.bytesPerSecond, 500 / 11);
  const lost = new RateMeter();
  lost.add(0, 5000);
  lost.add(1000, 0);
  assert.equal(lost.bytesPerSecond, 0);
});

test('the rate is between the slowest and the fastest step', () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 20_000 }), fc.nat(1e9)), { minLength: 1 });
  fc.assert(
    fc.property(steps, (all) => {
      const meter = new RateMeter();
      let [atMs, total] = [0, 0];
      meter.add(atMs, total);
      for (const [ms, bytes] of all) meter.add((atMs += ms), (total += bytes));
      const rates = all.map(([ms, bytes]) => (bytes * 1000) / ms);
      assert(meter.bytesPerSecond >= Math.min(...rates) * (1 - 1e-9));
      assert(meter.bytesPerSecond <= Math.max(...rates) * (1 + 1e-9));
    }),
  );
});
