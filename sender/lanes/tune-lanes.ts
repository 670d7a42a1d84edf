/** Looks at the lanes every half second, and has as many at work as the pace says. */
import type { Clock } from '../../common/clock.ts';
import type { Lanes } from './lanes.ts';
import { TUNER_INTERVAL_MS, startTuner, type TunerState } from './tuner-state.ts';
import { tune } from './lane-tuner.ts';

/** While nothing moves, as when the line is down for hours, there is little to see. */
const QUIET_INTERVAL_MS = 5000;
const QUIET_LOOKS = 20;

export interface TuneLanesOptions {
  readonly lanes: Lanes;
  readonly lanesMax: number;
  readonly blockBytes: number;
  /** Milliseconds that blocks have been under way so far, all lanes together. */
  readonly sendingMs: () => number;
  /** Answers so far that said that the receiver takes no more now. */
  readonly busyCount: () => number;
  readonly clock: Clock;
}

/** @returns to be disposed when all is sent. */
export function tuneLanes(parts: TuneLanesOptions): Disposable {
  const end = new AbortController();
  void follow(parts, end.signal);
  return { [Symbol.dispose]: () => end.abort() };
}

async function follow(parts: TuneLanesOptions, signal: AbortSignal): Promise<void> {
  const { lanes, clock } = parts;
  let state = startTuner(parts.lanesMax, parts.blockBytes);
  let sendingMs = 0;
  for (let quiet = 0; !signal.aborted;) {
    lanes.want(state.lanes);
    const before: TunerState = state;
    const acknowledgedBytes = await lanes.acknowledgedBytes();
    const atMs = clock.monotonicMs();
    const sentForMs = parts.sendingMs() - sendingMs;
    sendingMs += sentForMs;
    state = tune(state, {
      atMs,
      acknowledgedBytes,
      lanes: lanes.runningCount,
      sendingShare: shareOf(sentForMs, before, atMs, lanes.runningCount),
      busyCount: parts.busyCount(),
    });
    quiet = acknowledgedBytes === before.last?.acknowledgedBytes ? quiet + 1 : 0;
    const waitMs = quiet < QUIET_LOOKS ? TUNER_INTERVAL_MS : QUIET_INTERVAL_MS;
    // Its only failure is that it is over.
    await clock.sleep(waitMs, signal).catch(() => {});
  }
}

function shareOf(sentForMs: number, { last }: TunerState, atMs: number, lanes: number): number {
  const laneMs = (atMs - (last?.atMs ?? atMs)) * lanes;
  return laneMs > 0 ? Math.min(1, sentForMs / laneMs) : 0;
}
