import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EtaRange } from '../../../sender/watch/eta-range.ts';

const GIB = 1024 ** 3;

/** A second at each of these rates. */
function rangeOf(rates: readonly number[]): EtaRange {
  const range = new EtaRange();
  let bytes = 0;
  for (const [second, rate] of rates.entries()) {
    range.add(second * 1000, bytes, false);
    bytes += rate;
  }
  return range;
}

test('on a steady line the range is narrow, on another one as wide as its rates', () => {
  const steady = rangeOf(Array.from({ length: 300 }, () => GIB));
  assert.deepEqual(steady.eta(1000, 1000 * GIB), {
    text: '16 m 40 s',
    range: '16 m 40 s to 16 m 40 s at its best and worst rates of late',
  });
  const uneven = rangeOf(Array.from({ length: 300 }, (_, second) => (second % 40 < 20 ? GIB : GIB / 4)));
  assert.match(uneven.eta(1600, 1000 * GIB).range, /^16 m 40 s to 1 h 6 m /);
});

test('it is never narrower than the estimate itself, and says when it is too early', () => {
  const steady = rangeOf(Array.from({ length: 300 }, () => GIB));
  assert.match(steady.eta(2000, 1000 * GIB).range, /^16 m 40 s to 33 m 20 s /);
  assert.match(steady.eta(500, 1000 * GIB).range, /^8 m 20 s to 16 m 40 s /);
  assert.equal(rangeOf([GIB, GIB]).eta(1000, GIB).range, 'too early to say how sure that is');
  assert.equal(steady.eta(5, GIB).range, '', 'the end is near');
});

test('an outage, and blocks that turn out to be missing, are no rates', () => {
  const range = new EtaRange();
  for (let second = 0; second < 100; second++) range.add(second * 1000, second * GIB, false);
  for (let second = 100; second < 4000; second++) range.add(second * 1000, 100 * GIB, true);
  for (let second = 4000; second < 4100; second++) range.add(second * 1000, (second - 3950) * GIB, false);
  assert.match(range.eta(1000, 1000 * GIB).range, /^16 m 40 s to 16 m 40 s /);
});
