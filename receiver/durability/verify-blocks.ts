/**
 * Reads durable blocks back from the target, past the page cache. Blocks that this process wrote are read
 * shortly after they are written; those that an earlier process listed, or that were durable when another
 * program wrote to the target, after that. A block that differs becomes absent, and the sender sends it
 * again.
 *
 * `verified` exists only here, in memory: read back by this process since the last write that another
 * program may have made.
 */
import assert from 'node:assert/strict';
import { SlabPool } from '../../common/io/buffers.ts';
import type { Clock } from '../../common/clock.ts';
import type { DigestBlock, ZeroDigests } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf, type Geometry } from '../../common/geometry.ts';
import { rangesOf, type Range } from '../../common/ranges.ts';
import { ZERO_RUN_BYTES_MAX } from '../../common/io/zero-runs.ts';
import { isZero } from '../../common/io/zeros.ts';
import type { BlockTable } from './block-table.ts';
import { ForeignWriteWatch, type ForeignWriteEvents } from './foreign-writes.ts';
import { JOURNAL_RETRY_MS, type Journal } from '../journal/journal.ts';
import type { RangeLocks } from './range-locks.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { Target } from '../target/target.ts';

/** Two at a time keep a disk busy and leave the rest of it to the writes. */
const READERS = 2;
/** Fewer blocks of zeros are not worth a run. */
const ZERO_RUN_BLOCKS_MIN = 8;
/** A block that was written this often and read back wrong each time: the disk is broken. */
export const MISMATCHES_MAX = 3;
/** Others may have changed millions of blocks; counting mismatches of each would need too much memory. */
const CHANGES_TRACKED_MAX = 10_000;

export interface VerifierEvents extends ForeignWriteEvents {
  /** `count`: how often this block has read back wrong by now. */
  onMismatch?(index: number, offset: number, count: number, reason: string): void;
  /**
   * A block has changed that this process did not write, or wrote before another program did.
   * `count`: how many such blocks were found so far.
   */
  onChanged?(index: number, offset: number, count: number, reason: string): void;
  /** It read back wrong at first, and right the second time. */
  onUnstable?(index: number, offset: number): void;
  /** As for the writes: the process must end. */
  onJournalBroken(error: TransferError): void;
}

export interface VerifierOptions {
  readonly target: Target;
  readonly journal: Journal;
  readonly table: BlockTable;
  readonly locks: RangeLocks;
  readonly geometry: Geometry;
  readonly clock: Clock;
  readonly digest: DigestBlock;
  readonly zeroDigests: ZeroDigests;
  /** Nothing is written any more: blocks that differ are noted, and the journal keeps what was sealed. */
  readonly isSealed: () => boolean;
  readonly events: VerifierEvents;
}

export class Verifier {
  readonly #options: VerifierOptions;
  readonly #slabs: SlabPool;
  readonly #mismatches = new Map<number, number>();
  /** Blocks that were read and compared before they were recorded. */
  readonly #read = new Map<number, { digest: Buffer; method: ReadBackMethod }>();
  /** Being read now; each index is under its lock as well. */
  readonly #reading = new Set<number>();
  readonly #watch: ForeignWriteWatch;
  #doubts = 0;
  #changedCount = 0;
  /** Where the search for the next own block, and for the next listed one, starts. */
  readonly #cursors = [0, 0];
  /** Blocks of a run that could not be read as one: they are read one by one, and not counted for each. */
  #oneByOne: Range = [0, 0];
  /** A caller waits until everything is read back. */
  #isSettling = false;
  #readers = 0;
  #isStopped = false;
  #settled = Promise.withResolvers<void>();
  #method: ReadBackMethod = 'direct';

  constructor(options: VerifierOptions) {
    this.#options = options;
    const doubt = (isForeign: boolean): void => this.#doubt(isForeign);
    this.#watch = new ForeignWriteWatch({ target: options.target, events: options.events, doubt });
    this.#slabs = new SlabPool({ slabSizeBytes: options.geometry.blockSizeBytes, slabCount: READERS });
  }

  /** The weakest way in which a block was read back. */
  get method(): ReadBackMethod {
    return this.#method;
  }

  /** How often all earlier readings became doubtful so far. */
  get doubts(): number {
    return this.#doubts;
  }

  /** Blocks that this process found changed by others, before the transfer was sealed. */
  get changedCount(): number {
    return this.#changedCount;
  }

  /** Blocks that read back wrong too often. */
  get broken(): Range[] {
    return rangesOf(
      [...this.#mismatches].filter(([, count]) => count >= MISMATCHES_MAX).map(([index]) => index),
    );
  }

  /** Starts readers if there are blocks to read. */
  wake(): void {
    while (this.#readers < READERS && !this.#isStopped && this.#readableCount > this.#reading.size) {
      this.#readers++;
      void this.#runReader();
    }
  }

  /** This process has changed the target, if only the end of a file. */
  noteOwnWrites(): void {
    this.#watch.noteOwnWrites();
  }

  /** Blocks of this process became durable. */
  noteDurable(): void {
    void this.look();
    this.wake();
  }

  /** Reads everything back again, verified or not. */
  startOver(): void {
    this.#doubt(true);
    this.#isSettling = true;
    this.wake();
  }

  /**
   * A reading of this block differed. It is read again in its turn; if it was equal before, somebody else has
   * changed it. To be called under its lock.
   */
  doubtBlock(index: number): void {
    const { table } = this.#options;
    if (table.stateOf(index) === 'verified') table.setListed(index, table.digestOf(index));
    this.wake();
  }

  /**
   * The target was found to hold these bytes under their digest: the block that is recorded with it need not
   * be read once more.
   */
  noteRead(index: number, digest: Buffer, method: ReadBackMethod): void {
    const isDue = this.#options.table.stateOf(index) !== 'verified';
    if (isDue && this.#read.size < CHANGES_TRACKED_MAX) this.#read.set(index, { digest, method });
  }

  #isRead(index: number): boolean {
    const read = this.#read.get(index);
    this.#read.delete(index);
    if (read?.digest.equals(this.#options.table.digestOf(index)) !== true) return false;
    this.#method = read.method;
    return true;
  }

  /** All verified blocks have to be read back again. */
  #doubt(isForeign: boolean): void {
    this.#doubts++;
    this.#read.clear();
    if (isForeign) this.#options.table.doubtAll();
    else this.#options.table.doubtVerified();
  }

  /** Finds writes of others. @returns whether they can be distinguished from ours. */
  async look(): Promise<boolean> {
    await this.#watch.begin();
    await this.#watch.look();
    this.wake();
    return this.#watch.tellsWritersApart === true;
  }

  /** Resolves when everything durable has been read back, or can't be. */
  async settle(): Promise<void> {
    this.#isSettling = true;
    this.wake();
    if (this.#readers > 0) await this.#settled.promise;
  }

  /**
   * Call it while nothing is being written and everything is flushed.
   * @returns whether all verified blocks were read after the last write by another program; if not, they are
   * durable only, and are read again.
   * @throws TransferError `io-error`, `foreign-writes`.
   */
  async confirm(): Promise<boolean> {
    const isUnchanged = await this.#watch.isUnchanged();
    if (!isUnchanged) this.wake();
    return isUnchanged;
  }

  /** Resolves when the readers have finished their blocks and ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#readers > 0) await this.#settled.promise;
  }

  /**
   * Blocks that may be read now. Where writers can't be distinguished, each write of ours would invalidate
   * all earlier readings: own blocks are then read after the last write.
   */
  get #readableCount(): number {
    const { table } = this.#options;
    return this.#readsOwn ? table.countOf('durable') : table.listedCount;
  }

  get #readsOwn(): boolean {
    return this.#isSettling || this.#watch.tellsWritersApart !== false;
  }

  async #runReader(): Promise<void> {
    try {
      await this.#watch.begin();
      for (let index = this.#next(); index !== undefined; index = this.#next()) {
        const end = index + this.#zerosFrom(index);
        for (let at = index; at < end; at++) this.#reading.add(at);
        try {
          const isRun = end - index >= ZERO_RUN_BLOCKS_MIN && (await this.#verifyZeros(index, end - index));
          if (!isRun) await this.#verify(index);
        } finally {
          for (let at = index; at < end; at++) this.#reading.delete(at);
        }
      }
    } catch (error) {
      this.#isStopped = true;
      if (!(error instanceof TransferError)) throw error;
      this.#options.events.onJournalBroken(error);
    } finally {
      this.#readers--;
      if (this.#readers === 0) {
        this.#settled.resolve();
        this.#settled = Promise.withResolvers<void>();
        this.wake();
      }
    }
  }

  /** The next block to read: an own one after the last one read, wrapping around; then a listed one. */
  #next(): number | undefined {
    if (this.#isStopped) return undefined;
    return (this.#readsOwn ? this.#nextOf(0) : undefined) ?? this.#nextOf(1);
  }

  #nextOf(kind: 0 | 1): number | undefined {
    const { table } = this.#options;
    const isListed = kind === 1;
    for (let laps = 0; laps < 2; laps++) {
      let index = table.nextDurable(this.#cursors[kind] ?? 0, isListed);
      for (; index !== undefined; index = table.nextDurable(index + 1, isListed)) {
        if (this.#reading.has(index)) continue;
        this.#cursors[kind] = index + 1;
        return index;
      }
      this.#cursors[kind] = 0;
    }
    return undefined;
  }

  /** @returns how many blocks from this one on can be read as one run of zeros; 1 if none can. */
  #zerosFrom(first: number): number {
    const { blockSizeBytes, sizeBytes } = this.#options.geometry;
    const [from, count] = this.#oneByOne;
    const isOneByOne = first >= from && first < from + count;
    if (isOneByOne || this.#options.target.countZeros === undefined) return 1;
    const lengthBytes = Math.min(ZERO_RUN_BYTES_MAX, sizeBytes - first * blockSizeBytes);
    const end = first + Math.floor(lengthBytes / blockSizeBytes);
    let at = first;
    while (at < end && !this.#reading.has(at) && this.#isZero(at, first)) at++;
    return Math.max(1, at - first);
  }

  /** Whether it should be zeros, and is to be read now if `first` is. */
  #isZero(index: number, first: number): boolean {
    const { table, zeroDigests } = this.#options;
    const isDue = table.stateOf(index) === 'durable' && table.isListed(index) === table.isListed(first);
    return isDue && zeroDigests.of(index).equals(table.digestOf(index));
  }

  /**
   * Reads blocks back that should be zeros. Those that are not, or can't be read, stay as they are.
   * @returns whether it has read any.
   */
  async #verifyZeros(first: number, count: number): Promise<boolean> {
    const { table, locks, target, geometry } = this.#options;
    using _lock = await locks.lock(first, count);
    let end = first;
    while (!this.#isStopped && end < first + count && this.#isZero(end, first)) end++;
    if (end === first) return false;
    const doubts = this.#doubts;
    const { blockSizeBytes } = geometry;
    const read = (await target.countZeros?.(first * blockSizeBytes, blockSizeBytes, end - first)) ?? 0;
    // As for one block: the locks kept every writer away.
    if (doubts === this.#doubts) {
      for (let index = first; index < first + read; index++) table.set(index, 'verified');
    }
    if (read === 0) this.#oneByOne = [first, count];
    return read > 0;
  }

  async #verify(number: number): Promise<void> {
    const { table, locks, geometry } = this.#options;
    using _lock = await locks.lock(number, 1);
    // A newer write, or one that gave the transfer another size, had the lock before us.
    if (this.#isStopped || table.stateOf(number) !== 'durable') return;
    if (this.#isRead(number)) {
      table.set(number, 'verified');
      return;
    }
    const index = blockIndexOf(number, geometry);
    const offset = offsetOf(index, geometry);
    using slab = await this.#slabs.take();
    const bytes = slab.bytes.subarray(0, lengthOf(index, geometry));
    const doubts = this.#doubts;
    const first = await this.#compare(number, bytes, offset);
    // Read twice: a bit that flipped on its way from the disk is not on the disk.
    const failure = first === undefined ? undefined : await this.#compare(number, bytes, offset);
    if (failure === undefined) {
      if (first !== undefined) this.#options.events.onUnstable?.(number, offset);
      // Read before a write went astray or another program wrote: still durable, it is read again later.
      if (doubts !== this.#doubts) return;
      // The lock kept every writer away while it was read.
      assert.equal(table.stateOf(number), 'durable');
      table.set(number, 'verified');
      return;
    }
    if (this.#options.isSealed()) {
      table.setDifferent(number);
      this.#options.events.onChanged?.(number, offset, table.differentCount, failure);
      return;
    }
    const isListed = table.isListed(number);
    // The journal had no room: the block stays durable, for the next process to find.
    if (!(await this.#whenRoom(() => this.#options.journal.forgetBlocks([number])))) return;
    if (isListed) {
      table.set(number, 'absent');
      if (this.#mismatches.size < CHANGES_TRACKED_MAX) this.#countMismatch(number);
      this.#options.events.onChanged?.(number, offset, ++this.#changedCount, failure);
      return;
    }
    // Its bytes may have gone anywhere, perhaps over a block that was right when it was read.
    this.#doubt(false);
    table.set(number, 'absent');
    this.#options.events.onMismatch?.(number, offset, this.#countMismatch(number), failure);
  }

  #countMismatch(index: number): number {
    const count = (this.#mismatches.get(index) ?? 0) + 1;
    this.#mismatches.set(index, count);
    return count;
  }

  /** @returns why it differs from what was written; undefined if it does not. */
  async #compare(index: number, bytes: Buffer<ArrayBuffer>, offset: number): Promise<string | undefined> {
    const { target, digest, table, zeroDigests } = this.#options;
    try {
      const method = await target.readBack(bytes, offset);
      if (method !== 'direct') this.#method = method;
    } catch (error) {
      if (error instanceof TransferError && error.code === 'io-error') {
        return error.message;
      }
      throw error;
    }
    const expected = table.digestOf(index);
    // Comparing with zeros costs a tenth of hashing them.
    const isEqual = zeroDigests.of(index).equals(expected)
      ? isZero(bytes)
      : (await digest(bytes)).equals(expected);
    return isEqual ? undefined : 'it holds other bytes than were written';
  }

  /** Waits while the disk under the journal is full. @returns false if the verifier is stopped meanwhile. */
  async #whenRoom(write: () => void): Promise<boolean> {
    while (true) {
      try {
        write();
        return true;
      } catch (error) {
        if (!(error instanceof TransferError) || error.code !== 'no-space') throw error;
        if (this.#isStopped) return false;
        await this.#options.clock.sleep(JOURNAL_RETRY_MS);
      }
    }
  }
}
