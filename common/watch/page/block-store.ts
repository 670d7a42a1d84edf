/** The blocks as the page knows them, and how many of each kind are in any range of them. */
import { BLOCK_KINDS, kindNumberOf } from '../block-kinds.ts';
import { decodeRuns } from '../watch-frames.ts';

/** Kinds are counted for so many blocks at a time: a redraw must not look at millions. */
const GROUP_BLOCKS = 256;

export class BlockStore {
  #codes = new Uint8Array();
  /** Of each group: how many blocks of each kind. */
  #counts = new Uint16Array();
  #blockCount = 0;

  get blockCount(): number {
    return this.#blockCount;
  }

  codeOf(index: number): number {
    return this.#codes[index] ?? 0;
  }

  /** Forgets all of them. */
  reset(): void {
    this.#blockCount = 0;
    this.#codes = new Uint8Array();
    this.#counts = new Uint16Array();
  }

  /** Keeps those that are known: a pipe grows. */
  resize(blockCount: number): void {
    if (blockCount === this.#blockCount) return;
    const codes = new Uint8Array(blockCount);
    codes.set(this.#codes.subarray(0, Math.min(blockCount, this.#blockCount)));
    this.#codes = codes;
    this.#blockCount = blockCount;
    this.#counts = new Uint16Array(Math.ceil(blockCount / GROUP_BLOCKS) * BLOCK_KINDS.length);
    this.#count(0, blockCount);
  }

  /** Takes a frame of blocks. */
  apply(content: Uint8Array): void {
    const { first, count } = decodeRuns(content, this.#codes);
    this.#count(first, count);
  }

  /** Adds how many blocks of each kind are from `first` to before `end`. */
  countInto(counts: Uint32Array, first: number, end: number): void {
    const kinds = BLOCK_KINDS.length;
    let at = first;
    while (at < end) {
      const isWhole = at % GROUP_BLOCKS === 0 && (at + GROUP_BLOCKS <= end || end === this.#blockCount);
      if (isWhole) {
        const group = (at / GROUP_BLOCKS) * kinds;
        for (let kind = 0; kind < kinds; kind++)
          counts[kind] = (counts[kind] ?? 0) + (this.#counts[group + kind] ?? 0);
        at += GROUP_BLOCKS;
      } else {
        const stop = Math.min(end, (Math.floor(at / GROUP_BLOCKS) + 1) * GROUP_BLOCKS);
        for (; at < stop; at++) {
          const kind = kindNumberOf(this.#codes[at] ?? 0);
          counts[kind] = (counts[kind] ?? 0) + 1;
        }
      }
    }
  }

  /** Of all groups that have blocks of this range. */
  #count(first: number, count: number): void {
    const kinds = BLOCK_KINDS.length;
    const last = Math.ceil((first + count) / GROUP_BLOCKS);
    for (let group = Math.floor(first / GROUP_BLOCKS); group < last; group++) {
      const start = group * kinds;
      this.#counts.fill(0, start, start + kinds);
      const end = Math.min(this.#blockCount, (group + 1) * GROUP_BLOCKS);
      for (let index = group * GROUP_BLOCKS; index < end; index++) {
        const at = start + kindNumberOf(this.#codes[index] ?? 0);
        this.#counts[at] = (this.#counts[at] ?? 0) + 1;
      }
    }
  }
}
