/** When the copy will be done: an estimate that follows the line and does not jump. Pure. */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** The weight of old observations falls by 1/e in this time. */
const RATE_MEMORY_MS = 2 * MINUTE_MS;
/** A shorter time says little about the line. */
const OBSERVED_MS_MIN = 5000;
/** The end is averaged over this share of the time left, within bounds: a distant end moves slowly. */
const END_MEMORY_SHARE = 0.05;
const END_MEMORY_MS_MIN = 2000;
const END_MEMORY_MS_MAX = 10 * MINUTE_MS;
/** A value stays until it is wrong by this share of its step, so that it never flickers between two. */
const KEEP_STEPS = 0.75;

/** The longer the time left, the coarser the steps. */
const STEPS_MS: readonly (readonly [from: number, step: number])[] = [
  [48 * HOUR_MS, HOUR_MS],
  [10 * HOUR_MS, 10 * MINUTE_MS],
  [HOUR_MS, 5 * MINUTE_MS],
  [10 * MINUTE_MS, MINUTE_MS],
  [2 * MINUTE_MS, 30_000],
  [20_000, 5000],
  [0, 1000],
];

export class Eta {
  #last: { readonly atMs: number; readonly doneBytes: number } | undefined;
  #weightedBytes = 0;
  #weightedMs = 0;
  #observedMs = 0;
  #endMs: number | undefined;
  #shownMs: number | undefined;

  /** Call it about once a second. @param doneBytes may shrink, when blocks turn out to be missing. */
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

  /** Call it instead in an outage, which says nothing about the rate. */
  skip(nowMs: number, doneBytes: number): void {
    if (this.#last !== undefined && this.#endMs !== undefined) this.#endMs += nowMs - this.#last.atMs;
    this.#last = { atMs: nowMs, doneBytes };
  }

  /** Milliseconds left, rounded to the precision that the estimate has; undefined while there is none. */
  get leftMs(): number | undefined {
    return this.#shownMs;
  }

  #follow(nowMs: number, passedMs: number, leftBytes: number): void {
    const leftMs = (leftBytes * this.#weightedMs) / this.#weightedBytes;
    const memoryMs = Math.max(
      END_MEMORY_MS_MIN,
      Math.min(END_MEMORY_MS_MAX, leftMs * END_MEMORY_SHARE, this.#observedMs / 2),
    );
    const before = this.#endMs ?? nowMs + leftMs;
    const weight = 1 - Math.exp(-passedMs / memoryMs);
    this.#endMs = before + (nowMs + leftMs - before) * weight;
    this.#show(Math.max(0, this.#endMs - nowMs));
  }

  #show(leftMs: number): void {
    const step = STEPS_MS.find(([from]) => leftMs >= from)?.[1] ?? 1000;
    if (this.#shownMs !== undefined && Math.abs(leftMs - this.#shownMs) < KEEP_STEPS * step) return;
    this.#shownMs = Math.round(leftMs / step) * step;
  }
}
