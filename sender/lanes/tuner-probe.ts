/** Trying another number of lanes, and judging it by the goodput of all together. Pure. */
import { ratioOf, summaryOf, type Ratio } from './tuner-samples.ts';
import {
  LANES_START,
  TUNER_INTERVAL_MS,
  REST_MS_MIN,
  STEADY_SAMPLES_MAX,
  STEP_LARGE,
  ceilingOf,
  withLanes,
  type Doubt,
  type TunerState,
  type Probe,
} from './tuner-state.ts';

/** A probe is judged as soon as it is clear, and then at the latest. */
export const JUDGE_MS_MIN = 2000;
export const JUDGE_MS_MAX = 12_000;
/** How many standard errors are clear. */
const CLEAR = 2.7;
/** Twice the lanes have to bring this much more to be worth keeping, fewer of them less. */
const GAIN_WANTED = 0.05;
/** Fewer lanes may cost this much at most. */
const COST_TAKEN = 0.025;
/** This part of the wanted gain is some gain. */
const HOPEFUL = 0.8;
const STEP_SMALL = 1.5;
const STEP_DOWN = 0.7;
/** A step that brought at least this part of what was hoped for is followed by one as large. */
const HOPE = 0.6;
const REST_MS_MAX = 120_000;
/**
 * One lane has twice this on a line of 64 kbit/s. With less for each, blocks take half an hour, all are
 * lost when the line is cut, and some lane gets no byte across in a minute, which looks like a broken line.
 */
const LANE_BYTES_PER_SECOND_MIN = 4096;

/** As at the start, from where it is. */
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
  const down = Math.max(Math.min(LANES_START, state.lanes), Math.floor(state.lanes * STEP_DOWN));
  const canUp = up > state.lanes;
  const canDown = down < state.lanes;
  if (!canUp && !canDown) return { ...state, nextProbeAtMs: state.lineMs + state.restMs };
  // As many as may be, and the last ones helped: fewer are not tried in the same breath.
  if (state.nextIsUp && !canUp && state.wasUp === true && state.lineMs < state.nextProbeAtMs + state.restMs)
    return state;
  const isUp = canUp && (state.nextIsUp || !canDown);
  const probe = { from: state.lanes, base: state.samples, isUp };
  return { ...withLanes(state, isUp ? up : down), probe };
}

export function judge(state: TunerState, probe: Probe): TunerState {
  const measuredMs = state.samples.length * TUNER_INTERVAL_MS;
  if (measuredMs < JUDGE_MS_MIN) return state;
  const ratio = ratioOf(state.samples, probe.base);
  const grown = state.lanes / probe.from - 1;
  const wanted = probe.isUp ? 1 + GAIN_WANTED * grown : 1 - COST_TAKEN;
  const isClear = Math.abs(ratio.value - wanted) > CLEAR * ratio.error;
  if (!isClear && measuredMs < JUDGE_MS_MAX) return state;
  // In doubt for more of them, if there was some gain: too many cost little, too few cost goodput.
  const isHopeful =
    probe.isUp && ratio.value + ratio.error > wanted && ratio.value > 1 + HOPEFUL * (wanted - 1);
  return isHopeful || ratio.value > wanted ? keep(state, probe, ratio) : giveUp(state, probe);
}

/**
 * It helped, or fewer did as well: further the same way, at once. Back and forth between two numbers that do
 * equally well would go on for ever: the way back makes a rest, as a failure does.
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

/** Fewer lanes are being tried, and they are not even that few yet. */
export function isCostly(samples: readonly number[], { isUp, base }: Probe): boolean {
  if (isUp || samples.length * TUNER_INTERVAL_MS < JUDGE_MS_MIN) return false;
  const ratio = ratioOf(samples, base);
  return 1 - COST_TAKEN - ratio.value > CLEAR * ratio.error;
}

export function giveUp(state: TunerState, probe: Probe): TunerState {
  const base = probe.base.slice(-STEADY_SAMPLES_MAX / 2);
  return {
    ...withLanes(state, probe.from),
    // What was measured before it still holds; if not, that is a change.
    samples: base,
    probe: undefined,
    doubt: probe.isUp ? { lanes: state.lanes, samples: state.samples, baseCount: base.length } : undefined,
    nextIsUp: !probe.isUp,
    step: STEP_SMALL,
    restMs: longer(state.restMs),
    nextProbeAtMs: state.lineMs + state.restMs,
  };
}

/**
 * New connections run faster than a lossy line lets them, until their first losses: what a probe was compared
 * with may have been too good. So it is compared once more, with what came after it.
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
