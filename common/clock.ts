/** Time as a port, so that tests and simulations control it. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Monotonic milliseconds; only differences mean anything. Does not jump with the wall clock. */
  monotonicMs(): number;
  /** Milliseconds since 1970, according to the machine. */
  wallMs(): number;
  /** Resolves after `ms`. @throws the signal's reason if it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  async sleep(ms, signal) {
    try {
      // Not `ref: false`: a sender that only waits for a retry has to stay alive.
      await delay(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  },
};

/** Uniform in [0, 1); for jitter, not for secrets. */
export const systemRandom = (): number => Math.random();

/**
 * The time of day at this call, and what has passed since: whatever is done to the machine's clock, it never
 * goes back.
 */
export function steadyWallMs(clock: Clock): () => number {
  const offsetMs = clock.wallMs() - clock.monotonicMs();
  return () => offsetMs + clock.monotonicMs();
}
