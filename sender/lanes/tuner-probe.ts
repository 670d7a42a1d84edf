/** Tries another number of lanes, and judges it by the goodput of all of them. Pure. */
import { ratioOf, summaryOf, type Ratio } from './tuner-samples.ts';
import {
  LANES_USUAL,
  TUNER_INTERVAL_MS,
  REST_MS_MIN,
  STEADY_SAMPLES_MAX,
  STEP_LARGE,
  STEP_SMALL,
  ceilingOf,
  isSlow,
  withLanes,
  type Doubt,
  type TunerState,
  type Probe,
} from './tuner-state.ts';

/** A probe is judged as soon as it is clear, within these limits. */
export const JUDGE_MS_MIN = 2000;
export const JUDGE_MS_MAX = 12_000;
/** So many standard errors are clear. */
const CLEAR = 2.7;
/** Twice the lanes have to bring this much more to be kept, smaller steps accordingly less. */
const GAIN_WANTED = 0.05;
/** Fewer lanes may cost this much at most. */
const COST_TAKEN = 0.025;
/** On a slow line a gain has to be this many standard errors. */
const SURE = 2;
/** A doubtful gain is kept if it is this part of the wanted one. */
const HOPEFUL = 0.8;
const STEP_DOWN = 0.7;
/** A step that brought at least this part of what was hoped for is followed by an equally large one. */
const HOPE = 0.6;
const REST_MS_MAX = 120_000;
/**
 * One lane has twice this at 64 kbit/s. With less for each, some lane gets no byte across in a minute, which
 * looks like a broken line.
 */
const LANE_BYTES_PER_SECOND_MIN = 4096;

/** Probes upwards as at the start, from the current number. */
export function search(state: TunerState): TunerState {
  if (ceilingOf(state) <= state.lanes) return state;
  return {
    ...state,
    restMs: REST_MS_MIN,
    nextProbeAtMs: 0,
    nextIsUp: true,
    wasUp: undefined,
    step: STEP_LARGE,
  };
}

export function startProbe(state: TunerState): TunerState {
  const enough = Math.max(1, Math.floor(summaryOf(state.samples).mean / LANE_BYTES_PER_SECOND_MIN));
  if (state.lanes > enough) return withLanes(state, enough);
  const up = Math.min(ceilingOf(state), enough, Math.ceil(state.lanes * state.step));
  const down = Math.max(lanesMin(state), Math.floor(state.lanes * STEP_DOWN));
  const canUp = up > state.lanes;
  const canDown = down < state.lanes;
  if (!canUp && !canDown) return { ...state, nextProbeAtMs: state.lineMs + state.restMs };
  // At the maximum, and the last step up helped: do not probe downwards at once.
  if (state.nextIsUp && !canUp && state.wasUp === true && state.lineMs < state.nextProbeAtMs + state.restMs)
    return state;
  const isUp = canUp && (state.nextIsUp || !canDown);
  const probe = { from: state.lanes, base: state.samples, isUp };
  return { ...withLanes(state, isUp ? up : down), probe };
}

/** Fewer than usual are tried only on a slow line. */
function lanesMin(state: TunerState): number {
  return isSlow(state, summaryOf(state.samples).mean) ? 1 : Math.min(LANES_USUAL, state.lanes);
}

export function judge(state: TunerState, probe: Probe): TunerState {
  const measuredMs = state.samples.length * TUNER_INTERVAL_MS;
  if (measuredMs < JUDGE_MS_MIN) return state;
  const ratio = ratioOf(state.samples, probe.base);
  const grown = state.lanes / probe.from - 1;
  const wanted = probe.isUp ? 1 + GAIN_WANTED * grown : 1 - COST_TAKEN;
  const isClear = Math.abs(ratio.value - wanted) > CLEAR * ratio.error;
  if (!isClear && measuredMs < JUDGE_MS_MAX) return state;
  // On a slow line too many cost more than too few.
  if (probe.isUp && isSlow(state, summaryOf(state.samples).mean)) {
    return ratio.value - 1 > SURE * ratio.error ? keep(state, probe, ratio) : giveUp(state, probe, state);
  }
  // If in doubt, keep them when there was some gain: too many cost little, too few cost goodput.
  const isHopeful =
    probe.isUp && ratio.value + ratio.error > wanted && ratio.value > 1 + HOPEFUL * (wanted - 1);
  return isHopeful || ratio.value > wanted ? keep(state, probe, ratio) : giveUp(state, probe, state);
}

/**
 * It helped, or fewer did as well: continue in the same direction at once. After a reversal it rests, as
 * after a failure: otherwise it would go back and forth forever between two numbers that do equally well.
 */
function keep(state: TunerState, probe: Probe, ratio: Ratio): TunerState {
  const isAsHoped = ratio.value - 1 > HOPE * (state.lanes / probe.from - 1);
  const isReversal = state.wasUp !== undefined && state.wasUp !== probe.isUp;
  return {
    ...state,
    probe: undefined,
    wasUp: probe.isUp,
    nextIsUp: probe.isUp,
    step: isAsHoped ? STEP_LARGE : STEP_SMALL,
    restMs: isReversal ? longer(state.restMs) : REST_MS_MIN,
    nextProbeAtMs: isReversal ? state.lineMs + state.restMs : state.lineMs,
  };
}

function longer(restMs: number): number {
  return Math.min(REST_MS_MAX, restMs * 2);
}

/** Whether fewer lanes are already clearly slower, although surplus ones have not finished yet. */
export function isCostly(samples: readonly number[], { isUp, base }: Probe): boolean {
  if (isUp || samples.length * TUNER_INTERVAL_MS < JUDGE_MS_MIN) return false;
  const ratio = ratioOf(samples, base);
  return 1 - COST_TAKEN - ratio.value > CLEAR * ratio.error;
}

/** @param tried the lanes of the probe as far as they were reached, and their goodput. */
export function giveUp(
  state: TunerState,
  probe: Probe,
  tried: { readonly lanes: number; readonly samples: readonly number[] },
): TunerState {
  const base = probe.base.slice(-STEADY_SAMPLES_MAX / 2);
  const lost = 1 - ratioOf(tried.samples, probe.base).value;
  // Each lane that is missing is missed: the line is not full, and more of them help.
  const isFarFromFull =
    !probe.isUp && probe.from < ceilingOf(state) && lost > HOPE * (1 - tried.lanes / probe.from);
  return {
    ...withLanes(state, probe.from),
    // Earlier samples still apply; if they do not, that is a change of the line.
    samples: base,
    probe: undefined,
    doubt: probe.isUp ? { lanes: state.lanes, samples: state.samples, baseCount: base.length } : undefined,
    nextIsUp: !probe.isUp,
    step: STEP_SMALL,
    restMs: longer(state.restMs),
    nextProbeAtMs: isFarFromFull ? state.lineMs : state.lineMs + state.restMs,
  };
}

/**
 * Until their first losses, new connections are faster than a lossy line allows in the long run: the base of
 * a failed probe may have been too good. So the probe is compared once more, with the samples after it.
 */
export function lookBack(state: TunerState, doubt: Doubt): TunerState {
  const after = state.samples.slice(doubt.baseCount);
  const afterMs = after.length * TUNER_INTERVAL_MS;
  if (afterMs < JUDGE_MS_MIN) return state;
  const ratio = ratioOf(doubt.samples, after);
  const excess = ratio.value - 1 - GAIN_WANTED * (doubt.lanes / state.lanes - 1);
  const isClear = Math.abs(excess) > CLEAR * ratio.error;
  if (!isClear && afterMs < JUDGE_MS_MAX) return state;
  const cleared = { ...state, doubt: undefined };
  return excess > 0 && isClear ? startProbe(search({ ...cleared, samples: after })) : cleared;
}
