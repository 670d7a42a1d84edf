import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  LANES_USUAL,
  TUNER_INTERVAL_MS,
  startTuner,
  type Observation,
} from '../../../sender/lanes/tuner-state.ts';
import { tune } from '../../../sender/lanes/lane-tuner.ts';

const RATE = 1_000_000;
const BLOCK_BYTES = 4 * 1024 * 1024;

/** A tuner, and a line whose goodput is a function of the number of lanes. */
class Scene {
  state;
  readonly #bytesPerSecond: (lanes: number) => number;
  #seen: Observation = { atMs: 0, acknowledgedBytes: 0, lanes: 0, sendingShare: 1, busyCount: 0 };

  constructor(bytesPerSecond: (lanes: number) => number, lanesMax = 64) {
    this.#bytesPerSecond = bytesPerSecond;
    this.state = startTuner(lanesMax, BLOCK_BYTES);
  }

  /** @returns the number of lanes over time. */
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

  /** One more refusal because the receiver is busy. */
  refuse(): void {
    this.run(0.5, { busyCount: this.#seen.busyCount + 1 });
  }
}

test('it starts with 8 MiB in flight at most, and stays within its maximum', () => {
  const starts = [64 * 1024, 1024 * 1024, 2 * 1024 * 1024, BLOCK_BYTES, 4 * BLOCK_BYTES];
  assert.deepEqual(
    starts.map((blockBytes) => startTuner(64, blockBytes).lanes),
    [LANES_USUAL, LANES_USUAL, LANES_USUAL, 2, 1],
  );
  assert.equal(startTuner(3, 64 * 1024).lanes, 3);
  assert.equal(Math.max(...new Scene((lanes) => lanes * RATE, 3).run(120)), 3);
  assert.equal(Math.max(...new Scene((lanes) => lanes * RATE, 10).run(120)), 10);
});

test('if each lane adds as much as the last, all 64 are used within half a minute', () => {
  assert.equal(new Scene((lanes) => lanes * RATE).run(30).at(-1), 64);
});

test('if four fill the line it probes upwards less and less often: once in two minutes at most', () => {
  const lanes = new Scene(() => RATE).run(3600);
  assert.equal(lanes.at(-1), LANES_USUAL);
  const probes = lanes.filter((count, at) => count > LANES_USUAL && lanes[at - 1] === LANES_USUAL).length;
  assert(probes >= 20 && probes <= 36, `${probes} in an hour`);
  assert(Math.max(...lanes) <= 2 * LANES_USUAL);
});

test('lanes that are of no use are given up', () => {
  const limit = { lanes: 40 };
  const scene = new Scene((lanes) => Math.min(lanes, limit.lanes) * RATE);
  const grown = scene.run(60).at(-1) ?? 0;
  assert(grown >= 40, String(grown));
  limit.lanes = 6;
  const left = scene.run(240).at(-1) ?? 0;
  assert(left >= 6 && left <= 12, String(left));
});

test('while no byte arrives, or lanes wait for the source, nothing is concluded', () => {
  for (const idle of [{ acknowledgedBytes: 1 }, { sendingShare: 0.3 }]) {
    const scene = new Scene((lanes) => lanes * RATE);
    const lanes = scene.run(300, idle);
    assert.deepEqual(new Set(lanes), new Set([2]));
  }
});

test('when the receiver is busy there are fewer at once, and no more for a minute', () => {
  const scene = new Scene((lanes) => lanes * RATE);
  scene.run(30);
  scene.refuse();
  assert.equal(scene.state.lanes, 48);
  assert(Math.max(...scene.run(55)) <= 48);
  assert(scene.run(60).includes(64), 'then more are tried again');
  while (scene.state.lanes < 64) scene.run(0.5);
  for (let left = 6; left > 0; left--) scene.refuse();
  assert.equal(scene.state.lanes, 48, 'simultaneous refusals count once');
  for (let left = 150; left > 0; left--) scene.refuse();
  assert.equal(scene.state.lanes, 1);
});

test('for any observations the number stays within its bounds', () => {
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
