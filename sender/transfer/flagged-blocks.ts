/** A set of blocks of one transfer: a bit for each, so that a disk with millions of them costs little. */
import type { Range } from '../../common/ranges.ts';

export class FlaggedBlocks {
  readonly #bits: Uint8Array;
  readonly #blockCount: number;
  #count = 0;

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
    this.#bits = new Uint8Array(Math.ceil(blockCount / 8));
  }

  get count(): number {
    return this.#count;
  }

  has(index: number): boolean {
    return ((this.#bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  add(index: number): void {
    if (this.has(index)) return;
    this.#bits[index >> 3] = (this.#bits[index >> 3] ?? 0) | (1 << (index & 7));
    this.#count++;
  }

  /** @returns whether it was there. */
  remove(index: number): boolean {
    if (!this.has(index)) return false;
    this.#bits[index >> 3] = (this.#bits[index >> 3] ?? 0) & ~(1 << (index & 7));
    this.#count--;
    return true;
  }

  /** In order, at most `most` of them. */
  ranges(most: number): Range[] {
    const ranges: [number, number][] = [];
    for (let index = 0; index < this.#blockCount; index++) {
      // Eight at once: most disks differ in few places.
      if ((index & 7) === 0 && this.#bits[index >> 3] === 0) index += 7;
      else if (this.has(index)) {
        const last = ranges.at(-1);
        if (last !== undefined && last[0] + last[1] === index) last[1]++;
        else if (ranges.length < most) ranges.push([index, 1]);
        else break;
      }
    }
    return ranges;
  }
}
