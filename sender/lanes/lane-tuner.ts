/**
 * How many lanes send: more as long as that helps, a step back when it did not, and a probe up or down now
 * and then. A pure function of the observations. It only compares the goodput of all lanes with different
 * numbers of them: it needs no round-trip time, no loss rate and no knowledge of the congestion control.
 */
import { continueRamp } from './tuner-ramp.ts';
import { ratioOf, summaryOf } from './tuner-samples.ts';
import {
  JUDGE_MS_MAX,
  JUDGE_MS_MIN,
  giveUp,
  isCostly,
  judge,
  lookBack,
  search,
  startProbe,
} from './tuner-probe.ts';
import {
  TUNER_INTERVAL_MS,
  REST_MS_MIN,
  SETTLE_UP_MS,
  STEADY_SAMPLES_MAX,
  isSlow,
  startRamp,
  withLanes,
  type Observation,
  type TunerState,
} from './tuner-state.ts';

/** Samples needed to detect a change. */
const RECENT_SAMPLES = 6;
/** The line has changed if the recent goodput differs by at least this much, and clearly. */
const CHANGE = 0.15;
const CHANGE_CLEAR = 4;
/** The line is not steady while the halves of the samples differ by more than this. */
const MOVING = 0.1;
/** Without a byte for this time the line is down. */
const SILENCE_MS = 10_000;
/**
 * A slow line is measured for this long before a probe: samples are noisy, and until its first losses a
 * connection is several times as fast as in the long run.
 */
const SLOW_MS_MIN = 5000;
/** Lanes that wait for the source, or for a connection, say nothing about the line. */
const SENDING_SHARE_MIN = 0.6;
/**
 * When the receiver has no memory for more, this part of the lanes remains, and more are not tried for a
 * minute.
 */
const BUSY_STEP = 0.75;
const CEILING_MS = 60_000;
/** Refusals within this time have one cause. */
const YIELD_MS = 3000;

/** @returns the next state; its `lanes` is the number to use. */
export function tune(state: TunerState, seen: Observation): TunerState {
  const { last } = state;
  if (last === undefined) return { ...state, last: seen };
  const spanMs = seen.atMs - last.atMs;
  if (spanMs <= 0) return state;
  const next = { ...state, last: seen };
  if (seen.busyCount > last.busyCount && seen.atMs >= state.yieldedUntilMs) return yieldTo(next, seen);
  const bytes = seen.acknowledgedBytes - last.acknowledgedBytes;
  if (seen.sendingShare < SENDING_SHARE_MIN) return next;
  // On a slow line acknowledgements come in bursts; after longer the line is down, and there is nothing to
  // learn.
  if (bytes <= 0) return spanMs < SILENCE_MS ? state : next;
  const timed = { ...next, lineMs: state.lineMs + spanMs };
  const sample = (bytes * 1000) / spanMs;
  if (state.ramp !== undefined) return continueRamp(timed, state.ramp, sample);
  if (seen.lanes !== state.lanes) return awaitLanes(timed, seen.lanes, sample);
  if (timed.lineMs <= state.settledAtMs) return timed;
  const samples = [...state.samples, sample].slice(-STEADY_SAMPLES_MAX);
  const sampled = { ...timed, samples };
  return sampled.probe === undefined ? steady(sampled) : judge(sampled, sampled.probe);
}

/**
 * Surplus lanes are still finishing their blocks, which may take a minute on a slow line. If the line changes
 * meanwhile, or fewer lanes are clearly slower, those that are left stay.
 */
function awaitLanes(state: TunerState, lanes: number, sample: number): TunerState {
  const settledAtMs = Math.max(state.settledAtMs, state.lineMs + SETTLE_UP_MS);
  const waiting = [...state.waiting, sample].slice(-RECENT_SAMPLES);
  const { probe } = state;
  if (probe !== undefined && isCostly(waiting, probe))
    return giveUp(state, probe, { lanes, samples: waiting });
  const before = probe?.base ?? state.samples;
  if (lanes < state.lanes || !hasChanged([...before, ...waiting])) return { ...state, settledAtMs, waiting };
  return search({
    ...withLanes(state, Math.min(lanes, state.lanesMax)),
    probe: undefined,
    restMs: REST_MS_MIN,
  });
}

/** No probe is running: has the line changed, or is it time for one? */
function steady(state: TunerState): TunerState {
  const { samples } = state;
  if (hasChanged(samples)) {
    const recent = samples.slice(-RECENT_SAMPLES / 2);
    const before = summaryOf(samples.slice(0, -RECENT_SAMPLES)).mean;
    const searching = search({ ...state, samples: recent, doubt: undefined });
    // It carried more before: it may have become lossy.
    const isLess = summaryOf(recent).mean < before;
    return isLess ? { ...searching, ramp: startRamp(state.lineMs, before) } : searching;
  }
  if (state.doubt !== undefined) return lookBack(state, state.doubt);
  const measuredMs = samples.length * TUNER_INTERVAL_MS;
  const isMeasured = measuredMs >= (isSlow(state, summaryOf(samples).mean) ? SLOW_MS_MIN : JUDGE_MS_MIN);
  if (!isMeasured || state.lineMs < state.nextProbeAtMs) return state;
  const isYoung = state.lineMs < state.settledAtMs + JUDGE_MS_MAX;
  return isYoung && isMoving(samples) ? { ...state, samples: samples.slice(1) } : startProbe(state);
}

/**
 * New connections are still getting faster or slower: a probe would be compared with what no longer holds.
 */
function isMoving(samples: readonly number[]): boolean {
  const half = Math.floor(samples.length / 2);
  const ratio = ratioOf(samples.slice(half), samples.slice(0, half));
  return Math.abs(ratio.value - 1) > MOVING;
}

function hasChanged(samples: readonly number[]): boolean {
  if (samples.length < 2 * RECENT_SAMPLES) return false;
  const ratio = ratioOf(samples.slice(-RECENT_SAMPLES), samples.slice(0, -RECENT_SAMPLES));
  const difference = Math.abs(ratio.value - 1);
  return difference > CHANGE && difference > CHANGE_CLEAR * ratio.error;
}

/** The receiver has no memory for so many: fewer lanes, and not more again soon. */
function yieldTo(state: TunerState, seen: Observation): TunerState {
  const lanes = Math.max(1, Math.floor(Math.min(state.lanes, seen.lanes) * BUSY_STEP));
  return {
    ...withLanes(state, lanes),
    ramp: undefined,
    probe: undefined,
    ceiling: lanes,
    ceilingUntilMs: state.lineMs + CEILING_MS,
    yieldedUntilMs: seen.atMs + YIELD_MS,
    nextProbeAtMs: state.lineMs + REST_MS_MIN,
  };
}
