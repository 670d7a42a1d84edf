/** How much may go over the line, and when: so many bytes a second, and little more at once. Pure. */
import assert from 'node:assert/strict';

/** What was not used in this time is not made up for later. */
const SAVED_SECONDS = 0.25;

export class TokenBucket {
  #bytesPerSecond = 0;
  /** Below zero is what has been taken in advance. */
  #tokens = 0;
  #atMs = 0;

  /** What was saved or owed at the former rate is forgotten: it may be many seconds at the new one. */
  setRate(bytesPerSecond: number, nowMs: number): void {
    assert(bytesPerSecond > 0);
    if (bytesPerSecond === this.#bytesPerSecond) return;
    this.#bytesPerSecond = bytesPerSecond;
    this.#tokens = 0;
    this.#atMs = nowMs;
  }

  /** Milliseconds until something may be taken; 0: now. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    return Math.max(0, (-this.#tokens * 1000) / this.#bytesPerSecond);
  }

  /** Takes the whole at once, and lets those who come after wait for it. */
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
