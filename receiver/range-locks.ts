/** One writer per block at a time: locks over ranges of block indexes, granted in the order of asking. */
import assert from 'node:assert/strict';

interface Held {
  readonly first: number;
  readonly end: number;
}

interface Waiting extends Held {
  grant(): void;
}

function overlap(a: Held, b: Held): boolean {
  return a.first < b.end && b.first < a.end;
}

export class RangeLocks {
  readonly #held = new Set<Held>();
  /** Bounded by the number of connections: each asks for one lock at a time. */
  #waiting: Waiting[] = [];

  /** Waits until nobody holds, or waits longer for, any of these blocks. */
  async lock(first: number, count: number): Promise<Disposable> {
    const wanted: Held = { first, end: first + count };
    const isBlocked = [...this.#held, ...this.#waiting].some((other) => overlap(other, wanted));
    if (isBlocked) await new Promise<void>((grant) => this.#waiting.push({ ...wanted, grant }));
    else this.#held.add(wanted);
    return { [Symbol.dispose]: () => this.#release(first, wanted.end) };
  }

  #release(first: number, end: number): void {
    for (const held of this.#held) {
      if (held.first === first && held.end === end) this.#held.delete(held);
    }
    const ahead: Held[] = [...this.#held];
    const still: Waiting[] = [];
    for (const waiter of this.#waiting) {
      if (ahead.some((other) => overlap(other, waiter))) still.push(waiter);
      else {
        assert(![...this.#held].some((other) => overlap(other, waiter)));
        this.#held.add({ first: waiter.first, end: waiter.end });
        waiter.grant();
      }
      ahead.push(waiter);
    }
    this.#waiting = still;
  }
}
