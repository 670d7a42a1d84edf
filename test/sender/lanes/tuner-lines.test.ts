/** The lane tuner on model lines, by seed: `DDT_TUNER_SEEDS=5000` runs more; a failure names its seed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TUNER_INTERVAL_MS } from '../../../sender/lanes/tuner-state.ts';
import { formatSize } from '../../../common/units.ts';
import { prng } from '../../support/prng.ts';
import type { LineParameters } from './line-model.ts';
import {
  LANES_MAX,
  bestOf,
  decideByTuner,
  fixedGoodputs,
  lineOf,
  meanOf,
  runOn,
  secondsUntil,
  turnsPerMinute,
  type Decide,
  type Tick,
} from './tuner-runs.ts';

const SEEDS = Number(process.env['DDT_TUNER_SEEDS'] ?? 150);
const WARM_UP_MS = 60_000;
const STEADY_MS = 120_000;
const CHANGED_MS = 90_000;
const CLEAN_LANES_MAX = 8;
const TURNS_A_MINUTE_MAX = 8;
const REACTION_SECONDS_MAX = 35;
const REACTION_SECONDS_MEDIAN = 15;

const CLEAN = [
  lineOf(2, 40, 0),
  lineOf(20, 40, 0),
  lineOf(100, 10, 0),
  lineOf(100, 40, 0),
  lineOf(300, 5, 0),
];
const LOSSY = [
  lineOf(100, 40, 0.05),
  lineOf(100, 40, 0.5),
  lineOf(100, 80, 1),
  lineOf(50, 150, 0.2),
  lineOf(100, 200, 0.1),
  lineOf(1000, 20, 0.01),
  lineOf(1000, 80, 0.05),
  lineOf(20, 300, 2),
];
const LINES = [...CLEAN, ...LOSSY];
const BEST = new Map(LINES.map((line) => [line, bestOf(line)]));

const mbit = (bytesPerSecond: number): string => ((bytesPerSecond * 8) / 1e6).toFixed(1);
const nameOf = ({ bytesPerSecond, rttMs, loss }: LineParameters): string =>
  `${(bytesPerSecond * 8) / 1e6} Mbit/s, ${rttMs} ms, ${(loss * 100).toFixed(2)} %`;

/** What is wrong with a run on a constant line; undefined if nothing is. */
function faultOf(line: LineParameters, ticks: readonly Tick[]): string | undefined {
  const steady = ticks.slice(WARM_UP_MS / TUNER_INTERVAL_MS);
  const best = BEST.get(line) ?? bestOf(line);
  const mean = meanOf(steady);
  if (mean < 0.9 * best) return `${mbit(mean)} Mbit/s, where a fixed number brings ${mbit(best)}`;
  const turns = turnsPerMinute(steady);
  if (turns > TURNS_A_MINUTE_MAX) return `it turned ${turns.toFixed(1)} times a minute`;
  const lanes = steady.map((tick) => tick.lanes).sort((a, b) => a - b);
  const median = lanes[Math.floor(lanes.length / 2)] ?? 0;
  if (line.loss === 0 && median > CLEAN_LANES_MAX) return `${median} lanes on a clean line`;
  return undefined;
}

test('on a constant line it comes near the best fixed number, stays steady, and low on a clean one', (t) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const line = LINES[seed % LINES.length] ?? lineOf(1, 1, 0);
    const ticks = runOn([[line, WARM_UP_MS + STEADY_MS]], seed);
    assert.equal(faultOf(line, ticks), undefined, `seed ${seed}: ${nameOf(line)}`);
  }
  for (const line of LINES) {
    const ticks = runOn([[line, WARM_UP_MS + STEADY_MS]], 1);
    const fixed = [...fixedGoodputs(line)].map(([count, rate]) => `${count}: ${mbit(rate)}`).join(', ');
    const auto = `${mbit(meanOf(ticks.slice(WARM_UP_MS / TUNER_INTERVAL_MS)))} with ${ticks.at(-1)?.lanes}`;
    t.diagnostic(`${nameOf(line)}: fixed ${fixed}; auto ${auto}`);
  }
});

/** Line, block size, and the seconds of the first minute that may be lost against the best fixed number. */
const STARTS: readonly (readonly [LineParameters, number])[] = [
  [lineOf(100, 40, 0), 4],
  [lineOf(80, 50, 0.7), 3.2],
  [lineOf(80, 50, 0.7, { blockBytes: 512 * 1024 }), 3.6],
  [lineOf(100, 40, 0.5), 3.2],
  [lineOf(100, 80, 1), 5],
  [lineOf(1000, 20, 0.01), 6],
  [lineOf(1000, 80, 0.05), 6],
  [lineOf(10, 200, 0.2), 3.5],
  // With smaller blocks four of them start at once.
  [lineOf(100, 40, 0.5, { blockBytes: 1024 * 1024 }), 4.5],
  [lineOf(100, 80, 1, { blockBytes: 1024 * 1024 }), 6.5],
  [lineOf(10, 200, 0.2, { blockBytes: 1024 * 1024 }), 3.5],
];

test('the start costs a few seconds of the line', (t) => {
  for (const [line, secondsMax] of STARTS) {
    const best = bestOf(line);
    const all = Array.from({ length: Math.ceil(SEEDS / STARTS.length) }, (_, at) => {
      const lost = runOn([[line, WARM_UP_MS]], at + 1).map((tick) => 1 - tick.bytesPerSecond / best);
      return (lost.reduce((sum, each) => sum + each, 0) * TUNER_INTERVAL_MS) / 1000;
    }).sort((a, b) => a - b);
    const median = all[Math.floor(all.length / 2)] ?? Infinity;
    const size = formatSize(line.blockBytes);
    t.diagnostic(`${nameOf(line)}, ${size}: ${median.toFixed(1)} s, ${all.at(-1)?.toFixed(1)} s at worst`);
    assert(median <= secondsMax, `${nameOf(line)}: ${all.map((each) => each.toFixed(1)).join(' ')}`);
  }
});

test('at 400 KiB/s the first block of 4 MiB is finished within 45 s, and few are in flight', (t) => {
  const line = lineOf((400 * 1024 * 8) / 1e6, 40, 0);
  for (let seed = 1; seed <= 20; seed++) {
    const ticks = runOn([[line, 600_000]], seed);
    const first = (ticks.findIndex(({ finishedBlocks }) => finishedBlocks > 0) * TUNER_INTERVAL_MS) / 1000;
    const lanes = Math.max(...ticks.map((tick) => tick.lanes));
    const unfinished = ticks.map(({ unfinishedBytes }) => unfinishedBytes).sort((a, b) => a - b);
    const median = unfinished[unfinished.length / 2] ?? Infinity;
    if (seed === 1) t.diagnostic(`${first} s, ${lanes} lanes, ${formatSize(median)} unfinished`);
    assert(first <= 45 && lanes <= 4 && median <= 2 * line.blockBytes, `seed ${seed}: ${first} ${lanes}`);
    assert(meanOf(ticks) > 0.95 * line.bytesPerSecond);
  }
});

test('on a clean line with varying goodput it usually settles low, and loses nothing', () => {
  const line = lineOf(100, 40, 0, { sway: 0.2 });
  const four = meanOf(runOn([[line, STEADY_MS]], 1, () => 4).slice(WARM_UP_MS / TUNER_INTERVAL_MS));
  const runs = Array.from({ length: Math.ceil(SEEDS / 8) }, (_, at) =>
    runOn([[line, WARM_UP_MS + STEADY_MS]], at + 1).slice(WARM_UP_MS / TUNER_INTERVAL_MS),
  );
  const lanes = runs.map((ticks) => ticks.at(-1)?.lanes ?? Infinity).sort((a, b) => a - b);
  assert((lanes[Math.floor(lanes.length / 2)] ?? Infinity) <= CLEAN_LANES_MAX, lanes.join(' '));
  for (const ticks of runs) assert(meanOf(ticks) > 0.9 * four);
});

const CHANGES: readonly (readonly [string, LineParameters, LineParameters])[] = [
  ['loss comes', lineOf(100, 40, 0), lineOf(100, 40, 0.5)],
  ['loss goes', lineOf(100, 40, 0.5), lineOf(100, 40, 0)],
  ['more loss', lineOf(50, 80, 0.2), lineOf(50, 80, 2)],
  ['a slower line', lineOf(100, 40, 0.2), lineOf(20, 40, 0.2)],
  ['a faster line', lineOf(20, 40, 0.2), lineOf(100, 40, 0.2)],
  ['much faster', lineOf(100, 20, 0.05), lineOf(500, 20, 0.05)],
  ['a longer way', lineOf(100, 20, 0.1), lineOf(100, 150, 0.1)],
  ['a shorter way', lineOf(100, 150, 0.1), lineOf(100, 20, 0.1)],
];

test('after a change of the line it usually is within 10 % of the best in a quarter of a minute', (t) => {
  const seconds: number[] = [];
  for (const [name, before, after] of CHANGES) {
    const best = bestOf(after);
    const all = Array.from({ length: Math.ceil(SEEDS / CHANGES.length) }, (_, at) => {
      const ticks = runOn(
        [
          [before, 2 * CHANGED_MS],
          [after, CHANGED_MS],
        ],
        at + 1,
      );
      return secondsUntil(0.9, best, ticks.slice((2 * CHANGED_MS) / TUNER_INTERVAL_MS));
    }).sort((a, b) => a - b);
    const [median = 0, worst = 0] = [all[Math.floor(all.length / 2)], all.at(-1)];
    t.diagnostic(`${name}: ${median} s, ${worst} s at worst`);
    assert(median <= REACTION_SECONDS_MEDIAN && worst <= REACTION_SECONDS_MAX, `${name}: ${all.join(' ')}`);
    seconds.push(...all);
  }
  assert(seconds.length >= SEEDS);
});

test('a source slower than the line changes nothing about the number of lanes', () => {
  const line = lineOf(100, 40, 0.5);
  const slow = lineOf(100, 40, 0.5, { sourceBytesPerSecond: 2e6 });
  for (let seed = 1; seed <= 20; seed++) {
    const ticks = runOn(
      [
        [line, WARM_UP_MS],
        [slow, STEADY_MS],
      ],
      seed,
    );
    const lanes = ticks.slice((WARM_UP_MS + 30_000) / TUNER_INTERVAL_MS).map((tick) => tick.lanes);
    assert.equal(Math.min(...lanes), Math.max(...lanes), `seed ${seed}`);
  }
});

test('a line of 64 kbit/s never gets more than two lanes', () => {
  for (let seed = 1; seed <= 5; seed++) {
    const lanes = runOn([[lineOf(0.064, 600, 0), 7_200_000]], seed).map((tick) => tick.lanes);
    assert(Math.max(...lanes) <= 2, `seed ${seed}: ${Math.max(...lanes)}`);
  }
});

test('it stays below what the receiver has memory for, except for a probe now and then', () => {
  const line = lineOf(100, 40, 0.5, { receiverBlocks: 10 });
  for (let seed = 1; seed <= 20; seed++) {
    const steady = runOn([[line, WARM_UP_MS + STEADY_MS]], seed).slice(WARM_UP_MS / TUNER_INTERVAL_MS);
    const tooMany = steady.filter(({ lanes }) => lanes > line.receiverBlocks).length / steady.length;
    assert(tooMany < 0.15 && meanOf(steady) > 0.75 * bestOf(line), `seed ${seed}: ${tooMany}`);
  }
});

/** Tuners that are wrong in one way each, and the lines on which it shows. */
const WRONG: readonly (readonly [string, () => Decide, readonly LineParameters[]])[] = [
  ['never grows', () => () => 4, LOSSY],
  ['never shrinks', () => withHighest(decideByTuner(), 32), CLEAN],
  ['grows without limit', () => () => LANES_MAX, CLEAN],
  ['goes back and forth', backAndForth, LINES],
];

function withHighest(decide: Decide, start: number): Decide {
  let highest = start;
  return (seen) => (highest = Math.max(highest, decide(seen)));
}

function backAndForth(): Decide {
  let ticks = 0;
  return () => (ticks++ % 20 < 10 ? 16 : 8);
}

for (const [name, make, lines] of WRONG) {
  test(`a tuner that ${name} would be found`, () => {
    const seed = prng(name.length).below(1000);
    const faults = lines.map((line) => faultOf(line, runOn([[line, WARM_UP_MS + STEADY_MS]], seed, make())));
    assert(faults.filter((fault) => fault !== undefined).length > lines.length / 2, faults.join('; '));
  });
}
