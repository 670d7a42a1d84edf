/** The delay before attempt n, and nothing else: the loop that uses it belongs to the caller. Pure. */

/** First delay at most half a second: most failures are a reconnect. */
export const RETRY_DELAY_MS_MIN = 500;
/** A minute at most: a receiver that was busy, or full, is asked again within one. */
export const RETRY_DELAY_MS_MAX = 60_000;
/** An attempt to connect costs next to nothing: a line that is back is to be used within seconds. */
export const RECONNECT_DELAY_MS_MAX = 10_000;
/** A receiver may ask for patience, but not for hours. */
export const RETRY_AFTER_SECONDS_MAX = 120;

export interface RetryDelayOptions {
  /** No longer than this unless the receiver asks for it; {@link RETRY_DELAY_MS_MAX} unless given. */
  readonly delayMsMax?: number;
  /** What the receiver asks for. */
  readonly retryAfterSeconds?: number | undefined;
}

/**
 * Full jitter: uniform in [0, min(max, min·2^n)], so that many lanes do not come back at once.
 * @param failureCount failures in a row, from 1. @param random uniform in [0, 1).
 * @returns milliseconds; never less than what `retryAfterSeconds` asks for (clamped).
 */
export function retryDelayMs(
  failureCount: number,
  random: number,
  { delayMsMax = RETRY_DELAY_MS_MAX, retryAfterSeconds }: RetryDelayOptions = {},
): number {
  const ceiling = Math.min(delayMsMax, RETRY_DELAY_MS_MIN * 2 ** Math.min(failureCount - 1, 20));
  const jittered = random * ceiling;
  if (retryAfterSeconds === undefined || !(retryAfterSeconds > 0)) return jittered;
  return Math.max(jittered, Math.min(retryAfterSeconds, RETRY_AFTER_SECONDS_MAX) * 1000 * (1 + random * 0.2));
}
