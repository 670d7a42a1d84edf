/** What the lane tuner knows from one observation to the next. */
import assert from 'node:assert/strict';

/** Enough for a clean line of any delay that kernels have buffers for; a lossy one needs more. */
export const LANES_USUAL = 4;
/** In flight while the line is unknown: at 400 KiB/s it takes 20 s, and is lost if the run is interrupted. */
const START_BYTES = 8 * 1024 * 1024;
/**
 * With the lanes that are added a block should take no longer: until it is finished it may be lost, and lanes
 * that turn out to be too many finish theirs first.
 */
export const BLOCK_SECONDS_MAX = 40;
/**
 * Below this, half a second is a few hundred packets, and one that is lost holds back the acknowledgement of
 * those that follow it: samples vary by half and double.
 */
const SLOW_BYTES_PER_SECOND = 1_000_000;
/** Shorter intervals say nothing on a line of 300 ms. */
export const TUNER_INTERVAL_MS = 500;
/** What is remembered while nothing changes. */
export const STEADY_SAMPLES_MAX = 120;
/** From a failed probe to the next one; doubled each time. */
export const REST_MS_MIN = 10_000;
/** Doubling at first, so that 64 lanes are six steps away. */
export const STEP_LARGE = 2;
export const STEP_SMALL = 1.5;

/** New connections shake hands and start slowly; those that remain fill the gap that others leave slowly. */
export const SETTLE_UP_MS = 1500;
const SETTLE_DOWN_MS = 3000;

/** Counts never shrink. */
export interface Observation {
  readonly atMs: number;
  /** By all lanes so far, as acknowledged by the kernel of the other end. */
  readonly acknowledgedBytes: number;
  /** Lanes that may send, including surplus ones, which finish their block first. */
  readonly lanes: number;
  /** The part of these lanes' time since the last observation in which a block was in flight: 0 to 1. */
  readonly sendingShare: number;
  /** Responses so far by which the receiver refused a block for want of memory. */
  readonly busyCount: number;
}

/** Another number of lanes, to be compared with the previous one. */
export interface Probe {
  readonly from: number;
  readonly base: readonly number[];
  readonly isUp: boolean;
}

/** A failed probe upwards that may have been compared with too good a base. */
export interface Doubt {
  readonly lanes: number;
  readonly samples: readonly number[];
  /** So many of the state's samples are older than the doubt. */
  readonly baseCount: number;
}

/** More lanes without judging each step: at the start, and when the goodput has fallen. */
export interface Ramp {
  /** Bytes a second. */
  readonly highest: number;
  /** Lanes and their goodput before the last step; undefined before the first. */
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
  /** Time during which the line was the limit: the only time that counts. */
  readonly lineMs: number;
  /** Until then samples do not yet show what this number of lanes achieves. */
  readonly settledAtMs: number;
  /** Bytes a second with the current number of lanes, oldest first. */
  readonly samples: readonly number[];
  /** The same while surplus lanes have not finished yet. */
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
  /** Pending until it is known whether taking the last probe back was right. */
  readonly doubt: Doubt | undefined;
  /** As many as the receiver last had memory for, and until when that is assumed. */
  readonly ceiling: number;
  readonly ceilingUntilMs: number;
  /** Until then further refusals change nothing. */
  readonly yieldedUntilMs: number;
}

/** @param highest bytes a second that the line was seen to carry, if it was. */
export function startRamp(lineMs: number, highest = 0): Ramp {
  return { highest, from: undefined, sinceMs: lineMs, samples: [] };
}

/** @param lanesMax at least 1. @param blockBytes what a lane has in flight at once. */
export function startTuner(lanesMax: number, blockBytes: number): TunerState {
  assert(lanesMax >= 1);
  return {
    lanes: Math.min(LANES_USUAL, lanesMax, Math.max(1, Math.floor(START_BYTES / blockBytes))),
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

/** Another number of lanes: earlier samples say nothing about it. */
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

/** Not more than this is tried now. */
export function ceilingOf({ lineMs, ceiling, ceilingUntilMs, lanesMax }: TunerState): number {
  return lineMs < ceilingUntilMs ? ceiling : lanesMax;
}

/** Lanes that finish a block in time if all of them together have this goodput. */
export function lanesInTime({ blockBytes }: TunerState, bytesPerSecond: number): number {
  return Math.floor((bytesPerSecond * BLOCK_SECONDS_MAX) / blockBytes);
}

/** Whether more lanes need clear evidence: samples are noisy, or blocks take long and much may be lost. */
export function isSlow(state: TunerState, bytesPerSecond: number): boolean {
  return bytesPerSecond < SLOW_BYTES_PER_SECOND || lanesInTime(state, bytesPerSecond) < state.lanes;
}
