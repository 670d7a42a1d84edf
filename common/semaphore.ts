/** At most so many at once; the rest wait in line, first come, first served. */
import assert from 'node:assert/strict';
import { abortable } from './abortable.ts';

export class Semaphore {
  #limit: number;
  #taken = 0;
  readonly #waiting: PromiseWithResolvers<void>[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Lowering it takes nothing away: those above it finish first. */
  set limit(limit: number) {
    this.#limit = limit;
    this.#admit();
  }

  get takenCount(): number {
    return this.#taken;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Dispose the result to release it; disposing twice is harmless. @throws the signal's reason. */
  async take(signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    if (this.#waiting.length === 0 && this.#taken < this.#limit) this.#taken++;
    else await this.#wait(signal);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#release();
        isHeld = false;
      },
    };
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    const place = Promise.withResolvers<void>();
    this.#waiting.push(place);
    try {
      await abortable(place.promise, signal);
    } catch (error) {
      const at = this.#waiting.indexOf(place);
      if (at >= 0) this.#waiting.splice(at, 1);
      // Admitted in the same instant: the next one in line must not be forgotten.
      else this.#release();
      throw error;
    }
  }

  #release(): void {
    this.#taken--;
    assert(this.#taken >= 0);
    this.#admit();
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#taken < this.#limit) {
      this.#taken++;
      this.#waiting.shift()?.resolve();
    }
  }
}
