/** A token bucket: so many bytes a second, and little more at once. Pure. */
import assert from 'node:assert/strict';

/** Only what was unused for this long can be made up for later. */
const SAVED_SECONDS = 0.25;

export class TokenBucket {
  #bytesPerSecond = 0;
  /** Below zero: taken in advance. */
  #tokens = 0;
  #atMs = 0;

  /** Forgets what was saved or owed at the previous rate: at the new one it may be many seconds. */
  setRate(bytesPerSecond: number, nowMs: number): void {
    assert(bytesPerSecond > 0);
    if (bytesPerSecond === this.#bytesPerSecond) return;
    this.#bytesPerSecond = bytesPerSecond;
    this.#tokens = 0;
    this.#atMs = nowMs;
  }

  /** Milliseconds until something may be taken; 0 for now. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    return Math.max(0, (-this.#tokens * 1000) / this.#bytesPerSecond);
  }

  /** Takes all of it at once; later callers wait for it. */
  take(bytes: number, nowMs: number): void {
    this.#fill(nowMs);
    this.#tokens -= bytes;
  }

  #fill(nowMs: number): void {
    const passedSeconds = Math.max(0, nowMs - this.#atMs) / 1000;
    this.#atMs = nowMs;
    this.#tokens = Math.min(
      this.#tokens + passedSeconds * this.#bytesPerSecond,
      SAVED_SECONDS * this.#bytesPerSecond,
    );
  }
}
