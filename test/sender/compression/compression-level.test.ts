/** Levels on model lines and processors: the rate comes close to that of the best level. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LEVELS,
  chooseLevel,
  plainRateAt,
  type Level,
  type Observed,
} from '../../../sender/compression/compression-level.ts';
import { freshSeed, prng } from '../../support/prng.ts';

const seed = freshSeed();
const FAST = { share: 0.4, encodeBytesPerSecond: 150e6, cores: 2 };

function settle(observed: Omit<Observed, 'level'>, from: Level): Level {
  let level = from;
  for (let block = 0; block < 20; block++) level = chooseLevel({ ...observed, level });
  return level;
}

test('before anything was sent the cheapest level is used', () => {
  assert.equal(chooseLevel({ ...FAST, level: 9, lineBytesPerSecond: undefined }), 1);
});

test('a slow line gets the highest level, a faster one a lower, one faster than the processor none', () => {
  for (const from of LEVELS) {
    const levels = [1e6, 20e6, 35e6, 70e6, 1e9].map((line) =>
      settle({ ...FAST, lineBytesPerSecond: line }, from),
    );
    assert.deepEqual(levels.at(0), 9);
    assert.deepEqual(levels.at(-1), 0);
    assert.deepEqual(
      levels,
      levels.toSorted((a, b) => b - a),
    );
    assert(new Set(levels).size > 3, levels.join());
  }
});

test('one odd measurement moves the level by one step', () => {
  for (const [at, level] of LEVELS.entries()) {
    for (const lineBytesPerSecond of [1, 1e12]) {
      const next = LEVELS.indexOf(chooseLevel({ ...FAST, level, lineBytesPerSecond }));
      assert(Math.abs(next - at) <= 1, `${level} to ${LEVELS[next]}`);
    }
  }
});

test('a small gain counts where the line is the limit, not where the processor is', () => {
  const atLimit = (gain: number): number => (2 * 0.7 * FAST.encodeBytesPerSecond) / gain;
  assert.equal(settle({ ...FAST, lineBytesPerSecond: atLimit(1.2) }, 1), 0);
  assert.equal(settle({ ...FAST, lineBytesPerSecond: atLimit(1.3) }, 0), 1);
  assert.notEqual(settle({ ...FAST, share: 0.9, lineBytesPerSecond: 20e6 }, 0), 0);
});

test('incompressible data is sent plain on every line', () => {
  for (const line of [1e3, 1e6, 1e9])
    assert.equal(settle({ ...FAST, share: 1, lineBytesPerSecond: line }, 0), 0);
});

test('for any line, processor and data it settles within a twelfth of the best, or near plain', (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = prng(seed);
  for (let run = 0; run < 2000; run++) {
    const observed = {
      share: (1 + random.below(95)) / 100,
      encodeBytesPerSecond: 10 ** (6 + random.below(30) / 10),
      cores: 1 + random.below(16),
      lineBytesPerSecond: 10 ** (3 + random.below(65) / 10),
    };
    const best = Math.max(...LEVELS.map((level) => plainRateAt(level, { ...observed, level })));
    for (const from of LEVELS) {
      const level = settle(observed, from);
      const rate = plainRateAt(level, { ...observed, level });
      // Where the processor is the limit, plain is preferred up to a gain of a quarter.
      assert(
        rate > best * (level === 0 ? 0.79 : 11 / 12),
        `${JSON.stringify(observed)}: ${from} to ${level}`,
      );
    }
  }
});
