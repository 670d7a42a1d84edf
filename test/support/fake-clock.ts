/** A clock whose time moves only when it is told to. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';

interface Sleeper {
  readonly dueMs: number;
  wake(): void;
}

export class FakeClock implements Clock {
  readonly #wallOffsetMs: number;
  #nowMs = 0;
  /** In the order in which they are due; those due together in the order of asking. */
  #sleepers: Sleeper[] = [];

  /** @param wallStartMs what the wall clock says at the start, in milliseconds since 1970. */
  constructor(wallStartMs = 1_800_000_000_000) {
    this.#wallOffsetMs = wallStartMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  get sleeperCount(): number {
    return this.#sleepers.length;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sleeper: Sleeper = { dueMs: this.#nowMs + Math.max(0, ms), wake: resolve };
    const after = this.#sleepers.findIndex(({ dueMs }) => dueMs > sleeper.dueMs);
    this.#sleepers.splice(after < 0 ? this.#sleepers.length : after, 0, sleeper);
    const abort = (): void => {
      this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /**
   * Moves on by `ms` and wakes, at their moments and one after the other, all who sleep until then. What
   * they do without I/O has been done when it resolves, and if they sleep again within the span they are
   * woken again.
   */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await turn();
    for (let next = this.#sleepers[0]; next !== undefined && next.dueMs <= untilMs;) {
      await this.#wakeFirst();
      next = this.#sleepers[0];
    }
    this.#nowMs = untilMs;
  }

  /** Moves on from one sleeper's moment to the next until `work` has settled. @throws as `work` does. */
  async runToEnd<Result>(work: Promise<Result>): Promise<Result> {
    const state = { isSettled: false };
    const settled = (): void => {
      state.isSettled = true;
    };
    work.then(settled, settled);
    for (await turn(); !state.isSettled && this.#sleepers.length > 0;) await this.#wakeFirst();
    return await work;
  }

  async #wakeFirst(): Promise<void> {
    const sleeper = this.#sleepers.shift();
    if (sleeper === undefined) return;
    this.#nowMs = Math.max(this.#nowMs, sleeper.dueMs);
    sleeper.wake();
    // A whole turn of the event loop: those who were woken get as far as they can.
    await turn();
  }
}
