/** One writer per block at a time: locks over ranges of block indexes, granted in order. */
import assert from 'node:assert/strict';

interface Held {
  readonly first: number;
  readonly end: number;
}

interface Waiting {
  readonly wanted: Held;
  grant(): void;
}

function overlap(a: Held, b: Held): boolean {
  return a.first < b.end && b.first < a.end;
}

export class RangeLocks {
  readonly #held = new Set<Held>();
  /** Bounded by the number of connections: each asks for one lock at a time. */
  #waiting: Waiting[] = [];

  /** Waits until no earlier caller holds or wants any of these blocks. Disposing it twice is harmless. */
  async lock(first: number, count: number): Promise<Disposable> {
    const wanted: Held = { first, end: first + count };
    const ahead = [...this.#held, ...this.#waiting.map((waiter) => waiter.wanted)];
    if (ahead.some((other) => overlap(other, wanted))) {
      await new Promise<void>((grant) => this.#waiting.push({ wanted, grant }));
    } else this.#held.add(wanted);
    return { [Symbol.dispose]: () => this.#release(wanted) };
  }

  #release(held: Held): void {
    this.#held.delete(held);
    const ahead: Held[] = [...this.#held];
    const still: Waiting[] = [];
    for (const waiter of this.#waiting) {
      if (ahead.some((other) => overlap(other, waiter.wanted))) still.push(waiter);
      else {
        assert(![...this.#held].some((other) => overlap(other, waiter.wanted)));
        this.#held.add(waiter.wanted);
        waiter.grant();
      }
      ahead.push(waiter.wanted);
    }
    this.#waiting = still;
  }
}
