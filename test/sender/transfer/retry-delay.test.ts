import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  RECONNECT_DELAY_MS_MAX,
  RETRY_AFTER_SECONDS_MAX,
  RETRY_DELAY_MS_MAX,
  RETRY_DELAY_MS_MIN,
  retryDelayMs,
} from '../../../sender/transfer/retry.ts';

const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
/** As close to 1 as the generator gets. */
const ALMOST_1 = 1 - 2 ** -53;

test('the longest delay doubles from half a second to a minute', () => {
  const ceilings = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 1e6].map((count) =>
    Math.round(retryDelayMs(count, ALMOST_1)),
  );
  assert.deepEqual(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000]);
  assert.equal(RETRY_DELAY_MS_MIN, 500);
  assert.equal(RETRY_DELAY_MS_MAX, 60_000);
});

test('the delay is anything from zero to its maximum: full jitter', () => {
  assert.equal(retryDelayMs(7, 0), 0);
  assert.equal(retryDelayMs(7, 0.5), 16_000);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), randoms, (count, random) => {
      const delayMs = retryDelayMs(count, random);
      assert(delayMs >= 0 && delayMs <= RETRY_DELAY_MS_MAX);
      assert(delayMs <= retryDelayMs(count + 1, random), 'it never shrinks with further failures');
    }),
  );
});

test('a delay that the receiver asks for is kept, up to two minutes, with lanes spread out', () => {
  assert.equal(RETRY_AFTER_SECONDS_MAX, 120);
  assert.equal(retryDelayMs(1, 0, { retryAfterSeconds: 5 }), 5000);
  assert.equal(retryDelayMs(1, 0.5, { retryAfterSeconds: 5 }), 5500);
  assert.equal(retryDelayMs(1, 0, { retryAfterSeconds: 1e9 }), 120_000);
  assert.equal(retryDelayMs(1, 0, { retryAfterSeconds: Infinity }), 120_000);
  fc.assert(
    fc.property(fc.nat(500), randoms, fc.double({ noNaN: true }), (count, random, asked) => {
      const delayMs = retryDelayMs(count + 1, random, { retryAfterSeconds: asked });
      const clampedMs = Math.min(Math.max(asked, 0), 120) * 1000;
      assert(delayMs >= clampedMs && delayMs <= Math.max(clampedMs * 1.2, RETRY_DELAY_MS_MAX));
      assert(delayMs >= retryDelayMs(count + 1, random), 'never sooner than without the request');
    }),
  );
});

test('a nonsensical request of the receiver is ignored', () => {
  for (const wish of [0, -5, NaN, -Infinity]) {
    assert.equal(retryDelayMs(1, 0.5, { retryAfterSeconds: wish }), 250, `${wish}`);
  }
});

test('a line that is back is used within ten seconds, unless the receiver asks for more', () => {
  assert.equal(RECONNECT_DELAY_MS_MAX, 10_000);
  const delayMsMax = RECONNECT_DELAY_MS_MAX;
  const ceilings = [4, 5, 6, 100].map((count) => Math.round(retryDelayMs(count, ALMOST_1, { delayMsMax })));
  assert.deepEqual(ceilings, [4000, 8000, 10_000, 10_000]);
  assert.equal(retryDelayMs(9, 0, { delayMsMax, retryAfterSeconds: 60 }), 60_000);
});
