/**
 * The first seconds: more lanes at once until they carry what the line has been seen to carry. It is quick
 * and rough; what comes after it is not. Pure.
 */
import { SETTLE_UP_MS, ceilingOf, withLanes, type Ramp, type TunerState } from './tuner-state.ts';

/** Connecting, and the first rounds of slow start: nothing is told from less. */
const LOOK_MS_MIN = 1000;
/** Whatever it looks like then, it is judged. */
const LOOK_MS_MAX = 4000;
/** From one sample to the next: new connections still get faster by themselves. */
const GROWING = 1.15;
/** Less than this part of the highest goodput so far: the line could carry more. */
const SHORT = 0.8;
/** Samples that differ by no more are those of a full line. */
const LEVEL = 0.1;
const LEVEL_SAMPLES = 3;
/** A part of what was hoped for: then more lanes are worth a try though nothing more was seen of the line. */
const HOPE = 0.8;
const STEP_MIN = 2;
/** At once; the highest goodput may have been a moment's, out of somebody's buffer. */
const STEP_MAX = 4;
/** So long may a block take with the lanes added here: those too many finish theirs before they go. */
const BLOCK_SECONDS_MAX = 60;

/** With one more sample. */
export function continueRamp(state: TunerState, before: Ramp, sample: number): TunerState {
  const samples = [...before.samples, sample];
  const ramp = { ...before, samples, highest: Math.max(before.highest, sample) };
  const next = { ...state, ramp };
  const elapsedMs = state.lineMs - ramp.sinceMs;
  const [last = 0, previous = 0] = samples.toReversed();
  const isOver = elapsedMs >= LOOK_MS_MAX;
  if (elapsedMs < LOOK_MS_MIN || samples.length < 2) return next;
  const rate = (last + previous) / 2;
  if (rate < SHORT * ramp.highest) return stepUp(next, ramp, Math.min(last, rate));
  const isGrowing = last > GROWING * previous;
  if (!isOver && (isGrowing || !isLevel(samples))) return next;
  const { from } = ramp;
  if (from === undefined) return end(next);
  const gain = rate / from.rate - 1;
  if (gain > HOPE * (state.lanes / from.lanes - 1)) return stepUp(next, ramp, rate);
  // They have blocks in hand: whether fewer do as well is seen when it is steady.
  return end({ ...next, nextIsUp: gain > 0 });
}

function isLevel(samples: readonly number[]): boolean {
  const last = samples.slice(-LEVEL_SAMPLES);
  return last.length === LEVEL_SAMPLES && Math.min(...last) >= (1 - LEVEL) * Math.max(...last);
}

function stepUp(state: TunerState, ramp: Ramp, rate: number): TunerState {
  const step = Math.min(STEP_MAX, Math.max(STEP_MIN, ramp.highest / rate));
  const bearable = (ramp.highest * BLOCK_SECONDS_MAX) / state.blockBytes;
  const lanes = Math.floor(Math.min(ceilingOf(state), state.lanes * step, bearable));
  if (lanes < STEP_MIN * state.lanes) return end(state);
  const from = { lanes: state.lanes, rate };
  return { ...withLanes(state, lanes), ramp: { ...ramp, from, sinceMs: state.lineMs, samples: [] } };
}

function end(state: TunerState): TunerState {
  return { ...state, ramp: undefined, samples: [], settledAtMs: state.lineMs + SETTLE_UP_MS };
}
