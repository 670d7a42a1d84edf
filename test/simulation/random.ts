/** The random numbers of a simulation, from its seed. */
import { prng } from '../support/prng.ts';

export class Random {
  /** An integer in [0, 2^32). */
  readonly next: (this: void) => number;

  /** @param seed its lower 32 bits count. */
  constructor(seed: number) {
    const numbers = prng(seed);
    this.next = () => numbers.next();
  }

  /** Uniform in [0, 1). */
  readonly unit = (): number => this.next() / 2 ** 32;

  /** An integer in [0, n), for small n: the bias does not matter here. */
  readonly below = (n: number): number => Math.floor(this.unit() * n);

  /** An integer in [least, most]. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return probability > 0 && this.unit() < probability;
  }

  pick<Value>(values: readonly [Value, ...Value[]]): Value {
    return values[this.below(values.length)] ?? values[0];
  }
}
