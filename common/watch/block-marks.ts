/**
 * What is known of each block, for those who watch: a byte each, and for each chunk when it changed last, so
 * that an increment is found without looking at all blocks.
 */
import type { Range } from '../ranges.ts';
import { BLOCK_KINDS, codeOf, kindNumberOf, timesOf, type BlockKind } from './block-kinds.ts';

/** Blocks that are sent together when one of them has changed. */
const CHUNK_BLOCKS = 2048;

/** The blocks of a copy, as they are sent to the page. */
export interface WatchedBlocks {
  readonly blockCount: number;
  /** All chunks but the last have so many blocks. */
  readonly chunkBlocks: number;
  /** Grows with every change. */
  readonly version: number;
  /** The version with the last change of a chunk; 0: none yet. */
  changedAt(chunk: number): number;
  /** A byte for each block of a chunk; only until the next call. */
  codesOf(chunk: number): Uint8Array;
  /** How many blocks of each kind, in the order of `BLOCK_KINDS`. */
  readonly counts: readonly number[];
}

export class BlockMarks implements WatchedBlocks {
  #blockCount: number;
  #codes: Uint8Array;
  #changes: Float64Array;
  #version = 0;
  readonly counts: number[];
  readonly chunkBlocks = CHUNK_BLOCKS;

  /** @param blockCount 0 where the size is not known: it grows with the blocks. */
  constructor(blockCount: number) {
    this.#blockCount = blockCount;
    this.#codes = new Uint8Array(blockCount);
    this.#changes = new Float64Array(Math.ceil(blockCount / CHUNK_BLOCKS));
    this.counts = BLOCK_KINDS.map((kind) => (kind === 'absent' ? blockCount : 0));
  }

  get blockCount(): number {
    return this.#blockCount;
  }

  get version(): number {
    return this.#version;
  }

  kindNumber(index: number): number {
    return kindNumberOf(this.#codes[index] ?? 0);
  }

  /** How often it was sent. */
  times(index: number): number {
    return timesOf(this.#codes[index] ?? 0);
  }

  set(index: number, kind: BlockKind): void {
    if (index >= this.#blockCount) this.#grow(index + 1);
    this.#put(index, codeOf(kind, this.times(index)));
  }

  setAll(ranges: readonly Range[], kind: BlockKind): void {
    for (const [first, count] of ranges) {
      for (let index = first; index < first + count; index++) this.set(index, kind);
    }
  }

  /** It is sent, perhaps not for the first time. */
  sending(index: number): void {
    if (index >= this.#blockCount) this.#grow(index + 1);
    this.#put(index, codeOf('sending', this.times(index) + 1));
  }

  /** Of all blocks of the first kind. */
  replace(kind: BlockKind, by: BlockKind): void {
    const number = BLOCK_KINDS.indexOf(kind);
    for (let index = 0; index < this.#blockCount; index++) {
      if (this.kindNumber(index) === number) this.set(index, by);
    }
  }

  changedAt(chunk: number): number {
    return this.#changes[chunk] ?? 0;
  }

  codesOf(chunk: number): Uint8Array {
    return this.#codes.subarray(chunk * CHUNK_BLOCKS, Math.min((chunk + 1) * CHUNK_BLOCKS, this.#blockCount));
  }

  #put(index: number, code: number): void {
    const before = kindNumberOf(this.#codes[index] ?? 0);
    const after = kindNumberOf(code);
    this.counts[before] = (this.counts[before] ?? 0) - 1;
    this.counts[after] = (this.counts[after] ?? 0) + 1;
    this.#codes[index] = code;
    this.#changes[Math.floor(index / CHUNK_BLOCKS)] = ++this.#version;
  }

  #grow(blockCount: number): void {
    this.counts[0] = (this.counts[0] ?? 0) + blockCount - this.#blockCount;
    this.#blockCount = blockCount;
    if (blockCount <= this.#codes.length) return;
    const chunkCount = Math.ceil((blockCount * 2) / CHUNK_BLOCKS);
    const [codes, changes] = [this.#codes, this.#changes];
    this.#codes = new Uint8Array(chunkCount * CHUNK_BLOCKS);
    this.#codes.set(codes);
    this.#changes = new Float64Array(chunkCount);
    this.#changes.set(changes);
  }
}
