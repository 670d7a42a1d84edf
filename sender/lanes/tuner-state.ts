/** What the pace of the lanes knows from one observation to the next. */
import assert from 'node:assert/strict';

/** Enough for a clean line of any delay that kernels have buffers for; a lossy one asks for more. */
export const LANES_START = 4;
/** What is looked at every so often; shorter spans say nothing on a line of 300 ms. */
export const TUNER_INTERVAL_MS = 500;
/** What is remembered while nothing changes. */
export const STEADY_SAMPLES_MAX = 120;
/** From a probe that failed to the next one; doubled each time. */
export const REST_MS_MIN = 10_000;
/** Twice the lanes at first, so that 64 are six steps away. */
export const STEP_LARGE = 2;

/** New connections shake hands and start slowly, those that stay fill the gap of those that went slowly. */
export const SETTLE_UP_MS = 1500;
const SETTLE_DOWN_MS = 3000;

/** What is seen at one moment; counts never shrink. */
export interface Observation {
  readonly atMs: number;
  /** Of all lanes so far, as the other end's kernel says. */
  readonly acknowledgedBytes: number;
  /** Lanes that are at work: those that are to go finish their block first. */
  readonly lanes: number;
  /** The part of the lanes' time since the last observation in which a block was on its way: 0 to 1. */
  readonly sendingShare: number;
  /** Answers so far that said that the receiver takes no more now. */
  readonly busyCount: number;
}

/** Another number of lanes, to be compared with the one before. */
export interface Probe {
  readonly from: number;
  readonly base: readonly number[];
  readonly isUp: boolean;
}

export interface Doubt {
  readonly lanes: number;
  readonly samples: readonly number[];
  /** So many of the state's samples are from before it. */
  readonly baseCount: number;
}

/** More lanes without judging each step: at the start, and when the goodput has fallen. */
export interface Ramp {
  /** Bytes a second. */
  readonly highest: number;
  /** Lanes and their goodput before the last step; none before the first. */
  readonly from: { readonly lanes: number; readonly rate: number } | undefined;
  readonly sinceMs: number;
  /** Since then, oldest first. */
  readonly samples: readonly number[];
}

export interface TunerState {
  readonly lanes: number;
  readonly lanesMax: number;
  readonly blockBytes: number;
  readonly last: Observation | undefined;
  /** Time in which the line was the limit: the only time that counts. */
  readonly lineMs: number;
  /** Until then what is seen is not yet what this number of lanes does. */
  readonly settledAtMs: number;
  /** Bytes a second with the present number of lanes, oldest first. */
  readonly samples: readonly number[];
  /** The same while lanes that are to go are still there. */
  readonly waiting: readonly number[];
  /** While it lasts nothing else is done. */
  readonly ramp: Ramp | undefined;
  readonly probe: Probe | undefined;
  readonly nextProbeAtMs: number;
  readonly restMs: number;
  readonly step: number;
  readonly nextIsUp: boolean;
  /** Of the last probe that was kept. */
  readonly wasUp: boolean | undefined;
  /** What the last probe upwards gave, until it is known whether going back was right. */
  readonly doubt: Doubt | undefined;
  /** As many as the receiver was last found to bear, and until when that is believed. */
  readonly ceiling: number;
  readonly ceilingUntilMs: number;
  /** Until then more of the same answers change nothing. */
  readonly yieldedUntilMs: number;
}

/** @param highest bytes a second that the line was seen to carry, if that was seen. */
export function startRamp(lineMs: number, highest = 0): Ramp {
  return { highest, from: undefined, sinceMs: lineMs, samples: [] };
}

/** @param lanesMax at least 1. @param blockBytes what a lane has under way at once. */
export function startTuner(lanesMax: number, blockBytes: number): TunerState {
  assert(lanesMax >= 1);
  return {
    lanes: Math.min(LANES_START, lanesMax),
    lanesMax,
    blockBytes,
    last: undefined,
    lineMs: 0,
    settledAtMs: 0,
    samples: [],
    waiting: [],
    ramp: startRamp(0),
    probe: undefined,
    nextProbeAtMs: 0,
    restMs: REST_MS_MIN,
    step: STEP_LARGE,
    nextIsUp: true,
    wasUp: undefined,
    doubt: undefined,
    ceiling: lanesMax,
    ceilingUntilMs: 0,
    yieldedUntilMs: 0,
  };
}

/** Another number of lanes: what was measured before does not tell of it. */
export function withLanes(state: TunerState, lanes: number): TunerState {
  const settleMs = lanes >= state.lanes ? SETTLE_UP_MS : SETTLE_DOWN_MS;
  return {
    ...state,
    lanes,
    samples: [],
    waiting: [],
    doubt: undefined,
    settledAtMs: state.lineMs + settleMs,
  };
}

/** More than this is not tried now. */
export function ceilingOf({ lineMs, ceiling, ceilingUntilMs, lanesMax }: TunerState): number {
  return lineMs < ceilingUntilMs ? ceiling : lanesMax;
}
