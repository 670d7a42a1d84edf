/**
 * When it will be done, told so that a person can rely on it: it follows the line and does not jump. Pure.
 */
import { formatDuration } from '../../common/units.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** What has arrived counts less the longer ago it was: after this time by 1/e. */
const RATE_MEMORY_MS = 2 * MINUTE_MS;
/** Before that the first blocks say little about the line. */
const OBSERVED_MS_MIN = 5000;
/** The end itself is averaged over this part of what is left, within bounds: far ends move slowly. */
const END_MEMORY_PART = 0.05;
const END_MEMORY_MS_MIN = 2000;
const END_MEMORY_MS_MAX = 10 * MINUTE_MS;
/** What is shown stays until it is wrong by this part of its step, so that it never flickers between two. */
const KEEP_STEPS = 0.75;

/** How finely a time left is told: from this much on, in these steps. */
const STEPS_MS: readonly (readonly [from: number, step: number])[] = [
  [48 * HOUR_MS, HOUR_MS],
  [10 * HOUR_MS, 10 * MINUTE_MS],
  [HOUR_MS, 5 * MINUTE_MS],
  [10 * MINUTE_MS, MINUTE_MS],
  [2 * MINUTE_MS, 30_000],
  [20_000, 5000],
  [0, 1000],
];

export class TimeLeft {
  #last: { readonly atMs: number; readonly doneBytes: number } | undefined;
  #weightedBytes = 0;
  #weightedMs = 0;
  #observedMs = 0;
  #endMs: number | undefined;
  #shownMs: number | undefined;

  /**
   * To be called about once a second. @param doneBytes may shrink, where blocks are found missing after all.
   */
  add(nowMs: number, doneBytes: number, leftBytes: number): void {
    const last = this.#last;
    this.#last = { atMs: nowMs, doneBytes };
    if (leftBytes <= 0) this.#shownMs = 0;
    if (last === undefined || nowMs <= last.atMs || leftBytes <= 0) return;
    const passedMs = nowMs - last.atMs;
    const fading = Math.exp(-passedMs / RATE_MEMORY_MS);
    this.#weightedBytes = this.#weightedBytes * fading + Math.max(0, doneBytes - last.doneBytes);
    this.#weightedMs = this.#weightedMs * fading + passedMs;
    this.#observedMs += passedMs;
    if (this.#observedMs >= OBSERVED_MS_MIN && this.#weightedBytes > 0)
      this.#follow(nowMs, passedMs, leftBytes);
  }

  /** Time in which nothing can arrive, as in an outage, says nothing about the rate. */
  skip(nowMs: number, doneBytes: number): void {
    if (this.#last !== undefined && this.#endMs !== undefined) this.#endMs += nowMs - this.#last.atMs;
    this.#last = { atMs: nowMs, doneBytes };
  }

  /** Milliseconds, rounded to what can be known; undefined while that is nothing. */
  get roundedMs(): number | undefined {
    return this.#shownMs;
  }

  /** `13 h 40 m`; `unknown`. */
  get text(): string {
    return this.#shownMs === undefined ? 'unknown' : formatDuration(this.#shownMs);
  }

  #follow(nowMs: number, passedMs: number, leftBytes: number): void {
    const leftMs = (leftBytes * this.#weightedMs) / this.#weightedBytes;
    const memoryMs = Math.max(
      END_MEMORY_MS_MIN,
      Math.min(END_MEMORY_MS_MAX, leftMs * END_MEMORY_PART, this.#observedMs / 2),
    );
    const before = this.#endMs ?? nowMs + leftMs;
    const part = 1 - Math.exp(-passedMs / memoryMs);
    this.#endMs = before + (nowMs + leftMs - before) * part;
    this.#show(Math.max(0, this.#endMs - nowMs));
  }

  #show(leftMs: number): void {
    const step = STEPS_MS.find(([from]) => leftMs >= from)?.[1] ?? 1000;
    if (this.#shownMs !== undefined && Math.abs(leftMs - this.#shownMs) < KEEP_STEPS * step) return;
    this.#shownMs = Math.round(leftMs / step) * step;
  }
}
