import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  LANES_START,
  TUNER_INTERVAL_MS,
  startTuner,
  type Observation,
} from '../../../sender/lanes/tuner-state.ts';
import { tune } from '../../../sender/lanes/lane-tuner.ts';

const RATE = 1_000_000;
const BLOCK_BYTES = 4 * 1024 * 1024;

/** A pace, and a line on which so many lanes give so much: the world is `bytesPerSecond` of lanes. */
class Scene {
  state;
  readonly #bytesPerSecond: (lanes: number) => number;
  #seen: Observation = { atMs: 0, acknowledgedBytes: 0, lanes: 0, sendingShare: 1, busyCount: 0 };

  constructor(bytesPerSecond: (lanes: number) => number, lanesMax = 64) {
    this.#bytesPerSecond = bytesPerSecond;
    this.state = startTuner(lanesMax, BLOCK_BYTES);
  }

  /** @returns the numbers of lanes there were. */
  run(seconds: number, more: Partial<Observation> = {}): number[] {
    const lanes: number[] = [];
    for (let ms = 0; ms < seconds * 1000; ms += TUNER_INTERVAL_MS) {
      const there = this.state.lanes;
      const bytes = (this.#bytesPerSecond(there) * TUNER_INTERVAL_MS) / 1000;
      this.#seen = {
        ...this.#seen,
        atMs: this.#seen.atMs + TUNER_INTERVAL_MS,
        acknowledgedBytes: this.#seen.acknowledgedBytes + bytes,
        lanes: there,
        ...more,
      };
      this.state = tune(this.state, this.#seen);
      lanes.push(this.state.lanes);
    }
    return lanes;
  }

  /** One more answer that the receiver is busy. */
  refuse(): void {
    this.run(0.5, { busyCount: this.#seen.busyCount + 1 });
  }
}

test('it starts with four, or with fewer where no more are allowed, and never goes beyond', () => {
  assert.equal(startTuner(64, BLOCK_BYTES).lanes, LANES_START);
  assert.equal(startTuner(3, BLOCK_BYTES).lanes, 3);
  assert.deepEqual(new Set(new Scene((lanes) => lanes * RATE, 3).run(120)), new Set([3]));
  assert.equal(Math.max(...new Scene((lanes) => lanes * RATE, 10).run(120)), 10);
});

test('where each lane brings as much as the last it has all 64 within half a minute', () => {
  assert.equal(new Scene((lanes) => lanes * RATE).run(30).at(-1), 64);
});

test('where four fill the line it looks up ever more seldom: at most once in two minutes in the end', () => {
  const lanes = new Scene(() => RATE).run(3600);
  assert.equal(lanes.at(-1), LANES_START);
  const probes = lanes.filter((count, at) => count > LANES_START && lanes[at - 1] === LANES_START).length;
  assert(probes >= 20 && probes <= 36, `${probes} in an hour`);
  assert(Math.max(...lanes) <= 2 * LANES_START);
});

test('of more lanes than are of use some go', () => {
  const limit = { lanes: 40 };
  const scene = new Scene((lanes) => Math.min(lanes, limit.lanes) * RATE);
  const grown = scene.run(60).at(-1) ?? 0;
  assert(grown >= 40, String(grown));
  limit.lanes = 6;
  const left = scene.run(240).at(-1) ?? 0;
  assert(left >= 6 && left <= 12, String(left));
});

test('while no byte arrives, or the lanes wait for the source, nothing is concluded', () => {
  for (const idle of [{ acknowledgedBytes: 1 }, { sendingShare: 0.3 }]) {
    const scene = new Scene((lanes) => lanes * RATE);
    const lanes = scene.run(300, idle);
    assert.deepEqual(new Set(lanes), new Set([LANES_START]));
  }
});

test('when the receiver is busy there are fewer at once, and a minute without more', () => {
  const scene = new Scene((lanes) => lanes * RATE);
  scene.run(30);
  scene.refuse();
  assert.equal(scene.state.lanes, 48);
  assert(Math.max(...scene.run(55)) <= 48);
  assert.equal(scene.run(60).at(-1), 64, 'then it is tried again');
  for (let left = 6; left > 0; left--) scene.refuse();
  assert.equal(scene.state.lanes, 48, 'answers that come together count once');
  for (let left = 150; left > 0; left--) scene.refuse();
  assert.equal(scene.state.lanes, 1);
});

test('whatever is seen, the number stays within its bounds', () => {
  const seen = fc.record({
    stepMs: fc.integer({ min: 0, max: 10_000 }),
    bytes: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 1e9 })),
    lanes: fc.integer({ min: 0, max: 80 }),
    isThere: fc.boolean(),
    sendingShare: fc.double({ min: 0, max: 1, noNaN: true }),
    busy: fc.nat({ max: 1 }),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.array(seen, { maxLength: 300 }), (lanesMax, all) => {
      let state = startTuner(lanesMax, BLOCK_BYTES);
      let [atMs, acknowledgedBytes, busyCount] = [0, 0, 0];
      for (const { stepMs, bytes, lanes, isThere, sendingShare, busy } of all) {
        atMs += stepMs;
        acknowledgedBytes += bytes;
        busyCount += busy;
        const there = isThere ? state.lanes : lanes;
        state = tune(state, { atMs, acknowledgedBytes, lanes: there, sendingShare, busyCount });
        assert(Number.isSafeInteger(state.lanes) && state.lanes >= 1 && state.lanes <= lanesMax);
      }
    }),
    { numRuns: 100 },
  );
});
