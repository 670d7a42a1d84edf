/** The length of a file: until it is flushed, a power cut may undo a change of it. */
import type { Random } from './random.ts';

export class FileLength {
  /** The present one is the last; after a power cut it may be any of them. */
  #possible: number[] = [0];
  /** How often it was changed. */
  #changes = 0;

  get presentBytes(): number {
    return this.#possible.at(-1) ?? 0;
  }

  /** Whatever happens, it is at least this long. */
  get leastBytes(): number {
    return Math.min(...this.#possible);
  }

  get isFlushed(): boolean {
    return this.#possible.length === 1;
  }

  /** Which changes a flush that starts now makes durable. */
  get flushMark(): number {
    return this.#changes;
  }

  set(bytes: number): void {
    this.#changes++;
    this.#possible.push(bytes);
  }

  /** @returns the least length since the last flush, or Infinity: what was behind it is gone for good. */
  persist(mark: number): number {
    const count = this.#possible.length - 1 - (this.#changes - mark);
    const least = Math.min(...this.#possible.slice(1, count + 1));
    this.#possible = this.#possible.slice(count);
    return least;
  }

  /** @returns as {@link persist}. */
  cutPower(random: Random): number {
    const kept = random.below(this.#possible.length);
    const least = Math.min(...this.#possible.slice(1, kept + 1));
    this.#possible = [this.#possible[kept] ?? 0];
    return least;
  }
}
