/**
 * The first seconds: more lanes at once until they carry what the line has been seen to carry. Quick and
 * rough; the probes that follow are not. Pure.
 */
import {
  LANES_USUAL,
  SETTLE_UP_MS,
  ceilingOf,
  isSlow,
  lanesInTime,
  startRamp,
  withLanes,
  type Ramp,
  type TunerState,
} from './tuner-state.ts';

/** Connecting, and the first rounds of slow start: shorter looks say nothing. */
const LOOK_MS_MIN = 1000;
/** Then it is judged, whatever it looks like. */
const LOOK_MS_MAX = 4000;
/** From one sample to the next: new connections still get faster by themselves. */
const GROWING = 1.15;
/** Less than this part of the highest goodput so far: the line could carry more. */
const SHORT = 0.8;
/** Samples that differ by no more are those of a full line. */
const LEVEL = 0.1;
const LEVEL_SAMPLES = 3;
/** After a step that brought this part of what was hoped for, more lanes are worth a try. */
const HOPE = 0.8;
/**
 * Times as many lanes: each look takes a second or two, and lanes that turn out to be too many are given up
 * by the first probes. The highest goodput, a burst out of somebody's buffer perhaps, does not tell how many.
 */
const STEP = 4;
/** A smaller step is not worth a look. */
const STEP_MIN = 2;

/** With one more sample. */
export function continueRamp(state: TunerState, before: Ramp, sample: number): TunerState {
  const usual = Math.min(LANES_USUAL, ceilingOf(state));
  if (state.lanes < usual && lanesInTime(state, sample) >= usual) {
    return { ...withLanes(state, usual), ramp: startRamp(state.lineMs, Math.max(before.highest, sample)) };
  }
  const samples = [...before.samples, sample];
  const ramp = { ...before, samples, highest: Math.max(before.highest, sample) };
  const next = { ...state, ramp };
  const elapsedMs = state.lineMs - ramp.sinceMs;
  const [last = 0, previous = 0] = samples.toReversed();
  const isOver = elapsedMs >= LOOK_MS_MAX;
  if (elapsedMs < LOOK_MS_MIN || samples.length < 2) return next;
  const rate = (last + previous) / 2;
  if (isSlow(next, ramp.highest)) return end(next);
  if (rate < SHORT * ramp.highest) return stepUp(next, ramp, Math.min(last, rate));
  const isGrowing = last > GROWING * previous;
  if (!isOver && (isGrowing || !isLevel(samples))) return next;
  const { from } = ramp;
  if (from === undefined) return end(next);
  const gain = rate / from.rate - 1;
  if (gain > HOPE * (state.lanes / from.lanes - 1)) return stepUp(next, ramp, rate);
  // They have begun a block each: whether fewer do as well is seen when it is steady.
  return end({ ...next, nextIsUp: gain > 0 });
}

function isLevel(samples: readonly number[]): boolean {
  const last = samples.slice(-LEVEL_SAMPLES);
  return last.length === LEVEL_SAMPLES && Math.min(...last) >= (1 - LEVEL) * Math.max(...last);
}

function stepUp(state: TunerState, ramp: Ramp, rate: number): TunerState {
  const lanes = Math.floor(
    Math.min(
      ceilingOf(state),
      state.lanes * STEP,
      Math.max(LANES_USUAL, 2 * lanesInTime(state, ramp.highest)),
    ),
  );
  if (lanes < STEP_MIN * state.lanes) return end(state);
  const from = { lanes: state.lanes, rate };
  return { ...withLanes(state, lanes), ramp: { ...ramp, from, sinceMs: state.lineMs, samples: [] } };
}

function end(state: TunerState): TunerState {
  return { ...state, ramp: undefined, samples: [], settledAtMs: state.lineMs + SETTLE_UP_MS };
}
