/**
 * State and digest of every block, in memory: 33 bytes a block, in two flat arrays, because 2.6 million
 * objects would take hundreds of megabytes. It decides nothing: `durability` and the verifier change it.
 *
 * A table may have hundreds of millions of blocks, and a loop over all of them would stop the event loop for
 * seconds. So the blocks in each state are counted by chunk: what is asked of the whole table is found by
 * these counts, and what changes all of it changes them at once, the blocks themselves when they are next
 * looked at.
 */
import assert from 'node:assert/strict';
import type { Area } from '../../common/areas.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { BLOCK_STATES, type BlockState } from '../../common/protocol/protocol.ts';
import type { Range } from '../../common/ranges.ts';
import { UnreadableAreas } from './unreadable-areas.ts';

/** A state, and a digest. */
export const BLOCK_TABLE_ENTRY_BYTES = 1 + DIGEST_BYTES;

const ABSENT = 0;
const WRITTEN = BLOCK_STATES.indexOf('written');
const DURABLE = BLOCK_STATES.indexOf('durable');
const VERIFIED = BLOCK_STATES.indexOf('verified');
/**
 * Durable, too, but this process can't vouch for it: an earlier process wrote it, or another program has
 * written to the target since.
 */
const LISTED = BLOCK_STATES.length;
/** In a sealed transfer: read back, and not what was sealed. Keeps its digest; others see it as absent. */
const DIFFERENT = LISTED + 1;
const KINDS = DIFFERENT + 1;
/** What {@link BlockTable.kindsOf} says, in the order of its numbers. */
export const TABLE_KINDS = [...BLOCK_STATES, 'listed', 'different'] as const;

/** Looking at each block of a chunk takes microseconds; a billion blocks have 500,000 chunks. */
export const CHUNK_BLOCKS = 2048;

/** What has happened to a chunk as a whole, and not to its blocks yet. */
const SETTLED = 0;
const VERIFIED_DOUBTED = 1;
const ALL_DOUBTED = 2;

export class BlockTable {
  #blockCount: number;
  /** Read and written through {@link #kindOf} and {@link #put} only: a chunk may have to be settled first. */
  readonly #kinds: Uint8Array;
  readonly #digests: Buffer;
  /** Of all blocks, by kind. */
  readonly #counts: number[];
  /** Of each chunk, by kind; blocks that are absent are not counted. */
  readonly #chunkCounts: Uint16Array;
  readonly #doubts: Uint8Array;
  readonly unreadable = new UnreadableAreas();
  #contentVersion = 0;
  #version = 0;
  /** Of each chunk: the version with its last change. */
  readonly #changes: Float64Array;

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
    this.#kinds = new Uint8Array(blockCount);
    this.#digests = Buffer.alloc(blockCount * DIGEST_BYTES);
    this.#counts = Array.from({ length: KINDS }, (_, kind) => (kind === ABSENT ? blockCount : 0));
    const chunkCount = Math.ceil(blockCount / CHUNK_BLOCKS);
    this.#chunkCounts = new Uint16Array(chunkCount * KINDS);
    this.#doubts = new Uint8Array(chunkCount);
    this.#changes = new Float64Array(chunkCount);
  }

  get blockCount(): number {
    return this.#blockCount;
  }

  /** Changes with every digest: while it stays the same, so do all digests. */
  get contentVersion(): number {
    return this.#contentVersion;
  }

  /** Changes with everything that is known of a block, for those who watch. */
  get version(): number {
    return this.#version;
  }

  /** The version with the last change of a chunk; 0: none yet. */
  changedAt(chunk: number): number {
    return this.#changes[chunk] ?? 0;
  }

  /** A view: a number in {@link TABLE_KINDS} for each block of a chunk. */
  kindsOf(chunk: number): Uint8Array {
    this.#settle(chunk);
    const start = chunk * CHUNK_BLOCKS;
    return this.#kinds.subarray(start, start + this.#lengthOf(chunk));
  }

  /** How many blocks there are of each of {@link TABLE_KINDS}. */
  get kindCounts(): readonly number[] {
    return this.#counts;
  }

  /** Drops the blocks from `blockCount` on, all absent. Their memory was never touched. */
  shrinkTo(blockCount: number): void {
    assert(blockCount <= this.#blockCount && this.presentEnd() <= blockCount);
    this.#counts[ABSENT] = (this.#counts[ABSENT] ?? 0) - (this.#blockCount - blockCount);
    this.#blockCount = blockCount;
    this.#contentVersion++;
  }

  /** One past the last block that is not absent; 0 if all are absent. */
  presentEnd(): number {
    const isPresent = (index: number): boolean => this.#kindOf(index) !== ABSENT;
    for (let chunk = this.#chunkCount - 1; chunk >= 0; chunk--) {
      if (this.#countIn(chunk, ABSENT) === this.#lengthOf(chunk)) continue;
      let index = chunk * CHUNK_BLOCKS + this.#lengthOf(chunk) - 1;
      while (!isPresent(index)) index--;
      return index + 1;
    }
    return 0;
  }

  /** @throws AssertionError past the last block. */
  stateOf(index: number): BlockState {
    const kind = this.#kindOf(index);
    const state = BLOCK_STATES[kind === LISTED ? DURABLE : kind === DIFFERENT ? ABSENT : kind];
    return state ?? this.#refuseIndex(index);
  }

  isDurable(index: number): boolean {
    const kind = this.#kindOf(index);
    return kind === DURABLE || kind === VERIFIED || kind === LISTED;
  }

  /** A view of 32 bytes; meaningless while the block is absent. */
  digestOf(index: number): Buffer {
    return this.#digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
  }

  /** @param digest 32 bytes, copied; a block that becomes absent loses its digest and unreadable areas. */
  set(index: number, state: BlockState, digest?: Buffer): void {
    this.#put(index, BLOCK_STATES.indexOf(state), digest);
  }

  /** Durable according to the journal. */
  setListed(index: number, digest: Buffer): void {
    this.#put(index, LISTED, digest);
  }

  /** The block is not what was sealed. */
  setDifferent(index: number): void {
    this.#put(index, DIFFERENT);
  }

  get differentCount(): number {
    return this.#counts[DIFFERENT] ?? 0;
  }

  /** Ranges of the blocks that are not what was sealed, at most `most` of them. */
  different(most: number): Range[] {
    return this.#ranges(most, [DIFFERENT]);
  }

  /** Whether it is durable, but only according to the journal or from before another program wrote. */
  isListed(index: number): boolean {
    return this.#kindOf(index) === LISTED;
  }

  #kindOf(index: number): number {
    const kind = this.#kinds[index];
    if (kind === undefined) return this.#refuseIndex(index);
    const chunk = Math.floor(index / CHUNK_BLOCKS);
    if (this.#doubts[chunk] === SETTLED) return kind;
    this.#settle(chunk);
    return this.#kinds[index] ?? ABSENT;
  }

  /** Not an assertion with a text: that would be put together each time, for nothing. */
  #refuseIndex(index: number): never {
    assert.fail(`block ${index} of ${this.#blockCount}`);
  }

  #put(index: number, after: number, digest?: Buffer): void {
    const before = this.#kindOf(index);
    if (index >= this.#blockCount) this.#refuseIndex(index);
    this.#move(Math.floor(index / CHUNK_BLOCKS), before, after, 1);
    this.#kinds[index] = after;
    if (after === ABSENT) {
      if (before !== ABSENT) this.#digests.fill(0, index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
      this.unreadable.set(index, []);
    } else if (digest !== undefined) this.#digests.set(digest, index * DIGEST_BYTES);
    if (after === ABSENT || digest !== undefined) this.#contentVersion++;
    this.#noteChange(Math.floor(index / CHUNK_BLOCKS));
  }

  /** Areas that were zeros for want of a readable source. */
  setUnreadable(index: number, areas: readonly Area[]): void {
    this.unreadable.set(index, areas);
    this.#noteChange(Math.floor(index / CHUNK_BLOCKS));
  }

  #noteChange(chunk: number): void {
    this.#changes[chunk] = ++this.#version;
  }

  /** Counts `count` blocks of a chunk as of another kind. */
  #move(chunk: number, before: number, after: number, count: number): void {
    if (count === 0) return;
    this.#counts[before] = (this.#counts[before] ?? 0) - count;
    this.#counts[after] = (this.#counts[after] ?? 0) + count;
    const [from, to] = [chunk * KINDS + before, chunk * KINDS + after];
    if (before !== ABSENT) this.#chunkCounts[from] = (this.#chunkCounts[from] ?? 0) - count;
    if (after !== ABSENT) this.#chunkCounts[to] = (this.#chunkCounts[to] ?? 0) + count;
  }

  get #chunkCount(): number {
    return Math.ceil(this.#blockCount / CHUNK_BLOCKS);
  }

  #lengthOf(chunk: number): number {
    return Math.min(CHUNK_BLOCKS, this.#blockCount - chunk * CHUNK_BLOCKS);
  }

  #countIn(chunk: number, kind: number): number {
    if (kind !== ABSENT) return this.#chunkCounts[chunk * KINDS + kind] ?? 0;
    let present = 0;
    for (let other = ABSENT + 1; other < KINDS; other++) present += this.#countIn(chunk, other);
    return this.#lengthOf(chunk) - present;
  }

  /** All verified blocks have to be read back again. */
  doubtVerified(): void {
    this.#doubt(VERIFIED_DOUBTED, [VERIFIED], DURABLE);
  }

  /** Another program may have written anywhere: no durable block is vouched for. */
  doubtAll(): void {
    this.#doubt(ALL_DOUBTED, [VERIFIED, DURABLE, DIFFERENT], LISTED);
  }

  #doubt(doubt: number, before: readonly number[], after: number): void {
    for (let chunk = 0; chunk < this.#chunkCount; chunk++) {
      for (const kind of before) {
        const count = this.#countIn(chunk, kind);
        this.#move(chunk, kind, after, count);
        if (count === 0) continue;
        this.#doubts[chunk] = Math.max(doubt, this.#doubts[chunk] ?? SETTLED);
        this.#noteChange(chunk);
      }
    }
  }

  /** Does to the blocks what their counts say already. */
  #settle(chunk: number): void {
    if (this.#doubts[chunk] === SETTLED) return;
    const isAll = this.#doubts[chunk] === ALL_DOUBTED;
    this.#doubts[chunk] = SETTLED;
    const kinds = this.#kinds;
    const end = Math.min(kinds.length, (chunk + 1) * CHUNK_BLOCKS);
    for (let index = chunk * CHUNK_BLOCKS; index < end; index++) {
      const kind = kinds[index];
      if (kind === VERIFIED || (isAll && (kind === DURABLE || kind === DIFFERENT))) {
        kinds[index] = isAll ? LISTED : DURABLE;
      }
    }
  }

  /** The first durable block from `from` on that is not verified: a listed one, or one that is not. */
  nextDurable(from: number, isListed = false): number | undefined {
    const wanted = isListed ? LISTED : DURABLE;
    if (this.#counts[wanted] === 0) return undefined;
    for (let chunk = Math.floor(from / CHUNK_BLOCKS); chunk < this.#chunkCount; chunk++) {
      if (this.#countIn(chunk, wanted) === 0) continue;
      this.#settle(chunk);
      const start = chunk * CHUNK_BLOCKS;
      const kinds = this.#kinds.subarray(Math.max(from, start), start + this.#lengthOf(chunk));
      const at = kinds.indexOf(wanted);
      if (at >= 0) return Math.max(from, start) + at;
    }
    return undefined;
  }

  countOf(state: BlockState): number {
    const count = this.#counts[BLOCK_STATES.indexOf(state)] ?? 0;
    if (state === 'durable') return count + this.listedCount;
    return state === 'absent' ? count + this.differentCount : count;
  }

  get listedCount(): number {
    return this.#counts[LISTED] ?? 0;
  }

  /**
   * Raw digests of `count` blocks from `first`, a copy; all zero where a block is not durable. Those of a
   * sealed transfer are all there, wherever the target differs from them now.
   */
  durableDigests(first: number, count: number): Buffer {
    const page = Buffer.from(this.#digests.subarray(first * DIGEST_BYTES, (first + count) * DIGEST_BYTES));
    for (let at = 0; at < count; at++) {
      const isListed = this.isDurable(first + at) || this.#kindOf(first + at) === DIFFERENT;
      if (!isListed) page.fill(0, at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES);
    }
    return page;
  }

  /** All digests in index order, for the root. @throws AssertionError unless every block is durable. */
  allDigests(): Buffer {
    assert.equal(this.countOf('durable') + this.countOf('verified'), this.blockCount);
    return this.#digests.subarray(0, this.#blockCount * DIGEST_BYTES);
  }

  /** The `count` blocks from `first`; neighbors with equal states are joined. */
  statesByRange(first: number, count: number): { first: number; count: number; state: BlockState }[] {
    const ranges: { first: number; count: number; state: BlockState }[] = [];
    for (let index = first; index < first + count; index++) {
      const state = this.stateOf(index);
      const last = ranges.at(-1);
      if (last?.state === state) last.count++;
      else ranges.push({ first: index, count: 1, state });
    }
    return ranges;
  }

  /** Ranges of the blocks that are not durable, at most `most` of them. */
  missing(most: number): Range[] {
    return this.#ranges(most, [ABSENT, WRITTEN, DIFFERENT]);
  }

  /** @param wanted kinds of blocks. */
  #ranges(most: number, wanted: readonly number[]): Range[] {
    const ranges: [number, number][] = [];
    /** @returns false if there is no room for it. */
    const add = (first: number, count: number): boolean => {
      const last = ranges.at(-1);
      if (last !== undefined && last[0] + last[1] === first) last[1] += count;
      else if (ranges.length < most) ranges.push([first, count]);
      else return false;
      return true;
    };
    const isWanted = Uint8Array.from({ length: KINDS }, (_, kind) => (wanted.includes(kind) ? 1 : 0));
    const kinds = this.#kinds;
    for (let chunk = 0; chunk < this.#chunkCount; chunk++) {
      const count = wanted.reduce((sum, kind) => sum + this.#countIn(chunk, kind), 0);
      const [first, length] = [chunk * CHUNK_BLOCKS, this.#lengthOf(chunk)];
      if (count === length && !add(first, length)) return ranges;
      if (count === 0 || count === length) continue;
      this.#settle(chunk);
      const end = first + length;
      for (let index = first; index < end;) {
        const start = index;
        while (index < end && isWanted[kinds[index] ?? ABSENT] === 1) index++;
        if (index > start && !add(start, index - start)) return ranges;
        while (index < end && isWanted[kinds[index] ?? ABSENT] === 0) index++;
      }
    }
    return ranges;
  }
}
