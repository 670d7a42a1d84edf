/** Feeds the lane tuner every half second, and uses as many lanes as it says. */
import type { Clock } from '../../common/clock.ts';
import { tune } from './lane-tuner.ts';
import type { Lanes } from './lanes.ts';
import { LANES_USUAL, TUNER_INTERVAL_MS, startTuner } from './tuner-state.ts';

/** While no data moves, as during an outage of hours, there is little to see. */
const QUIET_INTERVAL_MS = 5000;
const QUIET_LOOKS = 20;
/** So many are needed only where packets are lost, or the kernel's buffers are small. */
const MANY_LANES = 16;

export interface TuneLanesOptions {
  readonly lanes: Lanes;
  readonly lanesMax: number;
  readonly blockBytes: number;
  /** Milliseconds that blocks have been in flight so far, summed over all lanes. */
  readonly sendingMs: () => number;
  /** Responses so far by which the receiver refused a block for want of memory. */
  readonly busyCount: () => number;
  readonly clock: Clock;
  /** Called once, when the line turns out to need many lanes. */
  readonly onMany?: (() => void) | undefined;
}

/** Runs until the result is disposed. */
export function tuneLanes(options: TuneLanesOptions): Disposable {
  const end = new AbortController();
  void follow(options, end.signal);
  return { [Symbol.dispose]: () => end.abort() };
}

async function follow(options: TuneLanesOptions, signal: AbortSignal): Promise<void> {
  const { lanes, clock } = options;
  let state = startTuner(options.lanesMax, options.blockBytes);
  let sendingMs = 0;
  let lookedMs = clock.monotonicMs();
  let isMany = false;
  for (let quiet = 0; !signal.aborted;) {
    // Fewer than usual may send on a slow line, but comparing with what is on the target needs no line.
    lanes.want(Math.max(state.lanes, Math.min(LANES_USUAL, options.lanesMax)), state.lanes);
    const before = state.last?.acknowledgedBytes;
    const acknowledgedBytes = await lanes.acknowledgedBytes();
    const atMs = clock.monotonicMs();
    const sentForMs = options.sendingMs() - sendingMs;
    const laneMs = (atMs - lookedMs) * lanes.sendingCount;
    sendingMs += sentForMs;
    lookedMs = atMs;
    state = tune(state, {
      atMs,
      acknowledgedBytes,
      lanes: lanes.sendingCount,
      sendingShare: laneMs > 0 ? Math.min(1, sentForMs / laneMs) : 0,
      busyCount: options.busyCount(),
    });
    // With fewer it was less: the first steps are rough.
    if (!isMany && state.lanes >= MANY_LANES && state.ramp === undefined) {
      isMany = true;
      options.onMany?.();
    }
    quiet = acknowledgedBytes === before ? quiet + 1 : 0;
    const waitMs = quiet < QUIET_LOOKS ? TUNER_INTERVAL_MS : QUIET_INTERVAL_MS;
    // Rejects only when it is disposed.
    await clock.sleep(waitMs, signal).catch(() => {});
  }
}
