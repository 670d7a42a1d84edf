/** Runs of a lane tuner on model lines, and their figures. */
import { tune } from '../../../sender/lanes/lane-tuner.ts';
import { TUNER_INTERVAL_MS, startTuner, type Observation } from '../../../sender/lanes/tuner-state.ts';
import { prng } from '../../support/prng.ts';
import { BLOCK_BYTES, LineModel, type LineParameters } from './line-model.ts';

export const LANES_MAX = 64;
const FIXED_COUNTS = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64] as const;
const FIXED_WARM_UP_MS = 15_000;
const FIXED_MS = 40_000;
const TICKS_A_MINUTE = 60_000 / TUNER_INTERVAL_MS;

/** @returns the lanes wanted after an observation. */
export type Decide = (seen: Observation) => number;

export function decideByTuner(blockBytes = BLOCK_BYTES): Decide {
  let state = startTuner(LANES_MAX, blockBytes);
  return (seen) => (state = tune(state, seen)).lanes;
}

export interface Tick {
  readonly lanes: number;
  readonly bytesPerSecond: number;
  readonly finishedBlocks: number;
  readonly unfinishedBytes: number;
}

export function lineOf(
  mbitPerSecond: number,
  rttMs: number,
  lossPercent: number,
  more: Partial<LineParameters> = {},
): LineParameters {
  return {
    bytesPerSecond: (mbitPerSecond * 1e6) / 8,
    rttMs,
    loss: lossPercent / 100,
    blockBytes: BLOCK_BYTES,
    sourceBytesPerSecond: 200e6,
    receiverBlocks: LANES_MAX,
    sway: 0,
    ...more,
  };
}

/** @param lines each with how long it lasts. */
export function runOn(
  lines: readonly (readonly [LineParameters, number])[],
  seed: number,
  decide: Decide = decideByTuner(lines[0]?.[0].blockBytes),
): Tick[] {
  const ticks: Tick[] = [];
  const model = new LineModel(lines[0]?.[0] ?? lineOf(1, 1, 0), prng(seed));
  const observe = (): void => {
    model.lanes = decide({
      atMs: model.nowMs,
      acknowledgedBytes: model.acknowledgedBytes,
      lanes: model.laneCount,
      sendingShare: model.takeSendingShare(),
      busyCount: model.busyCount,
    });
  };
  observe();
  for (const [line, lastsMs] of lines) {
    model.line = line;
    for (let leftMs = lastsMs; leftMs > 0; leftMs -= TUNER_INTERVAL_MS) {
      const before = model.deliveredBytes;
      model.run(TUNER_INTERVAL_MS);
      const bytes = model.deliveredBytes - before;
      const { laneCount: lanes, finishedBlocks, unfinishedBytes } = model;
      const bytesPerSecond = (bytes * 1000) / TUNER_INTERVAL_MS;
      ticks.push({ lanes, bytesPerSecond, finishedBlocks, unfinishedBytes });
      observe();
    }
  }
  return ticks;
}

export function meanOf(ticks: readonly Tick[]): number {
  return ticks.reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0) / ticks.length;
}

/** Goodput in bytes a second for each fixed number of lanes. */
export function fixedGoodputs(line: LineParameters): Map<number, number> {
  const counts = FIXED_COUNTS.filter((count) => count <= line.receiverBlocks);
  return new Map(
    counts.map((count) => {
      const ticks = runOn([[line, FIXED_WARM_UP_MS + FIXED_MS]], 1, () => count);
      return [count, meanOf(ticks.slice(FIXED_WARM_UP_MS / TUNER_INTERVAL_MS))];
    }),
  );
}

export function bestOf(line: LineParameters): number {
  return Math.max(...fixedGoodputs(line).values());
}

/** Changes of direction per minute: consecutive steps in one direction count once. */
export function turnsPerMinute(ticks: readonly Tick[]): number {
  let turns = 0;
  let direction = 0;
  for (const [at, { lanes }] of ticks.entries()) {
    const now = Math.sign(lanes - (ticks[at - 1]?.lanes ?? lanes));
    if (now !== 0 && now !== direction) turns++;
    if (now !== 0) direction = now;
  }
  return (turns * TICKS_A_MINUTE) / ticks.length;
}

/** Seconds until five seconds in a row reach this share of `best` on average; Infinity if never. */
export function secondsUntil(share: number, best: number, ticks: readonly Tick[]): number {
  const span = 5000 / TUNER_INTERVAL_MS;
  for (let at = 0; at + span <= ticks.length; at++) {
    if (meanOf(ticks.slice(at, at + span)) >= share * best) {
      return ((at + span) * TUNER_INTERVAL_MS) / 1000;
    }
  }
  return Infinity;
}
