/** The delay before attempt n, and nothing else: the loop that uses it belongs to the caller. Pure. */

/** First delay at most half a second: most failures are a reconnect. */
export const RETRY_DELAY_MS_MIN = 500;
/** A minute at most: a receiver that comes back is found within one. */
export const RETRY_DELAY_MS_MAX = 60_000;
/** A receiver may ask for patience, but not for hours. */
export const RETRY_AFTER_SECONDS_MAX = 120;

/**
 * Full jitter: uniform in [0, min(max, min·2^n)], so that many lanes do not come back at once.
 * @param failureCount failures in a row, from 1. @param random uniform in [0, 1).
 * @returns milliseconds; never less than what `retryAfterSeconds` asks for (clamped).
 */
export function retryDelayMs(failureCount: number, random: number, retryAfterSeconds?: number): number {
  const ceiling = Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** Math.min(failureCount - 1, 20));
  const jittered = random * ceiling;
  if (retryAfterSeconds === undefined || !(retryAfterSeconds > 0)) return jittered;
  return Math.max(jittered, Math.min(retryAfterSeconds, RETRY_AFTER_SECONDS_MAX) * 1000 * (1 + random * 0.2));
}
