/**
 * State and digest of every block, in memory: 33 bytes a block, in two flat arrays, because 2.6 million
 * objects would take hundreds of megabytes. It decides nothing: `durability` and the verifier change it.
 */
import assert from 'node:assert/strict';
import { joinAreas, type Area } from '../../common/areas.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { BLOCK_STATES, type BlockState } from '../../common/protocol/protocol.ts';
import type { Range } from '../../common/ranges.ts';

/** A state, and a digest. */
export const BLOCK_TABLE_ENTRY_BYTES = 1 + DIGEST_BYTES;

const ABSENT = 0;
const DURABLE = BLOCK_STATES.indexOf('durable');
const VERIFIED = BLOCK_STATES.indexOf('verified');
/**
 * Durable, too, but this process can't vouch for it: an earlier process wrote it, or another program has
 * written to the target since.
 */
const LISTED = BLOCK_STATES.length;
/** In a sealed transfer: read back, and not what was sealed. Keeps its digest; others see it as absent. */
const DIFFERENT = LISTED + 1;

export class BlockTable {
  #blockCount: number;
  readonly #states: Uint8Array;
  readonly #digests: Buffer;
  readonly #counts: number[];
  /** Only the few blocks that have any. */
  readonly #unreadable = new Map<number, readonly Area[]>();

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
    this.#states = new Uint8Array(blockCount);
    this.#digests = Buffer.alloc(blockCount * DIGEST_BYTES);
    this.#counts = [...BLOCK_STATES, 'listed', 'different'].map((_, at) => (at === ABSENT ? blockCount : 0));
  }

  get blockCount(): number {
    return this.#blockCount;
  }

  /** Drops the blocks from `blockCount` on, all absent. Their memory was never touched. */
  shrinkTo(blockCount: number): void {
    assert(blockCount <= this.#blockCount && this.presentEnd() <= blockCount);
    this.#counts[ABSENT] = (this.#counts[ABSENT] ?? 0) - (this.#blockCount - blockCount);
    this.#blockCount = blockCount;
  }

  /** One past the last block that is not absent; 0 if all are absent. */
  presentEnd(): number {
    let end = this.countOf('absent') === this.#blockCount ? 0 : this.#blockCount;
    while (end > 0 && this.#states[end - 1] === ABSENT) end--;
    return end;
  }

  /** @throws AssertionError past the last block. */
  stateOf(index: number): BlockState {
    const value = this.#states[index] ?? -1;
    const state = BLOCK_STATES[value === LISTED ? DURABLE : value === DIFFERENT ? ABSENT : value];
    assert(state !== undefined, `block ${index} of ${this.blockCount}`);
    return state;
  }

  isDurable(index: number): boolean {
    const state = this.#states[index];
    assert(state !== undefined, `block ${index} of ${this.blockCount}`);
    return state === DURABLE || state === VERIFIED || state === LISTED;
  }

  /** A view of 32 bytes; meaningless while the block is absent. */
  digestOf(index: number): Buffer {
    return this.#digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
  }

  /** Areas of the block that are unreadable at the source, and zeros here. */
  unreadableOf(index: number): readonly Area[] {
    return this.#unreadable.get(index) ?? [];
  }

  setUnreadable(index: number, areas: readonly Area[]): void {
    if (areas.length > 0) this.#unreadable.set(index, areas);
    else this.#unreadable.delete(index);
  }

  /** Unreadable areas of all blocks; those that touch are joined. */
  unreadable(): Area[] {
    return joinAreas([...this.#unreadable.values()].flat());
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
    return this.#ranges(most, (index) => this.#states[index] === DIFFERENT);
  }

  /** Whether it is durable, but only according to the journal or from before another program wrote. */
  isListed(index: number): boolean {
    return this.#states[index] === LISTED;
  }

  #put(index: number, after: number, digest?: Buffer): void {
    const before = this.#states[index];
    assert(before !== undefined && index < this.#blockCount, `block ${index} of ${this.blockCount}`);
    this.#counts[before] = (this.#counts[before] ?? 0) - 1;
    this.#counts[after] = (this.#counts[after] ?? 0) + 1;
    this.#states[index] = after;
    if (after === ABSENT) {
      this.#digests.fill(0, index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
      this.#unreadable.delete(index);
    } else if (digest !== undefined) this.#digests.set(digest, index * DIGEST_BYTES);
  }

  /** All verified blocks have to be read back again. */
  doubtVerified(): void {
    this.#turn(VERIFIED, DURABLE);
  }

  /** Another program may have written anywhere: no durable block is vouched for. */
  doubtAll(): void {
    for (const state of [VERIFIED, DURABLE, DIFFERENT]) this.#turn(state, LISTED);
  }

  #turn(before: number, after: number): void {
    for (let index = this.#states.indexOf(before); index >= 0;) {
      this.#put(index, after);
      index = this.#states.indexOf(before, index + 1);
    }
  }

  /** The first durable block from `from` on that is not verified: a listed one, or one that is not. */
  nextDurable(from: number, isListed = false): number | undefined {
    const index = this.#states.indexOf(isListed ? LISTED : DURABLE, from);
    return index < 0 ? undefined : index;
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
      const isListed = this.isDurable(first + at) || this.#states[first + at] === DIFFERENT;
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
    return this.#ranges(most, (index) => !this.isDurable(index));
  }

  #ranges(most: number, isWanted: (index: number) => boolean): Range[] {
    const ranges: [number, number][] = [];
    for (let index = 0; index < this.blockCount; index++) {
      if (!isWanted(index)) continue;
      const last = ranges.at(-1);
      if (last !== undefined && last[0] + last[1] === index) last[1]++;
      else if (ranges.length < most) ranges.push([index, 1]);
      else break;
    }
    return ranges;
  }
}
