/**
 * Reads durable blocks back from the target, past the page cache, at a short distance behind the writing. A
 * block that differs becomes absent, and the sender sends it again. Its bytes may have gone to another place,
 * where they spoilt what had been read back before: so everything is read back once more then.
 */
import assert from 'node:assert/strict';
import { SlabPool } from '../../common/io/buffers.ts';
import type { Clock } from '../../common/clock.ts';
import type { DigestBlock, ZeroDigests } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf, type Geometry } from '../../common/geometry.ts';
import { rangesOf, type Range } from '../../common/ranges.ts';
import { isZero } from '../../common/io/zeros.ts';
import type { BlockTable } from './block-table.ts';
import { JOURNAL_RETRY_MS, type Journal } from '../journal/journal.ts';
import type { RangeLocks } from './range-locks.ts';
import type { ReadBackMethod, Target } from '../target/target.ts';

/** Two at a time keep a disk busy and leave the rest of it to the writes. */
const READERS = 2;
/** A block that was sent again this often and still reads back wrong: the disk is broken. */
export const MISMATCHES_MAX = 3;
/**
 * Verified blocks are journalled this many at a time, and not more often than this: small blocks of zeros are
 * read back by ten thousands a second, and each time costs a sync. After a crash they are read once more.
 */
const JOURNAL_BATCH = 256;
const JOURNAL_INTERVAL_MS = 1000;

export interface VerifierEvents {
  /** `count`: how often this block has read back wrong by now. */
  onMismatch?(index: number, offset: number, count: number, reason: string): void;
  /** It read back wrong first, and right the second time. */
  onUnstable?(index: number, offset: number): void;
  /** As for the writes: the process must not go on. */
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
  readonly events: VerifierEvents;
}

export class Verifier {
  readonly #options: VerifierOptions;
  readonly #slabs: SlabPool;
  readonly #mismatches = new Map<number, number>();
  /** Being read now; each index is under its lock as well. */
  readonly #reading = new Set<number>();
  #unjournalled: number[] = [];
  #journalledMs = -Infinity;
  /** Counts the times at which all that had been read back was doubted. */
  #doubts = 0;
  #cursor = 0;
  #readers = 0;
  #isStopped = false;
  #settled = Promise.withResolvers<void>();
  #method: ReadBackMethod = 'direct';

  constructor(options: VerifierOptions) {
    this.#options = options;
    // Of an earlier process, that read back some of the blocks.
    if (options.journal.property('readBackMethod') === 'cache-dropped') this.#method = 'cache-dropped';
    this.#slabs = new SlabPool({ slabSizeBytes: options.geometry.blockSizeBytes, slabCount: READERS });
  }

  /** The weakest way in which a block was read back. */
  get method(): ReadBackMethod {
    return this.#method;
  }

  /** Blocks that read back wrong too often. */
  get broken(): Range[] {
    return rangesOf(
      [...this.#mismatches].filter(([, count]) => count >= MISMATCHES_MAX).map(([index]) => index),
    );
  }

  /** There may be something to read: blocks became durable, or the process has just started. */
  wake(): void {
    while (
      this.#readers < READERS &&
      !this.#isStopped &&
      this.#options.table.countOf('durable') > this.#reading.size
    ) {
      this.#readers++;
      void this.#runReader();
    }
  }

  /** Resolves when the readers have nothing left to do. */
  async settle(): Promise<void> {
    this.wake();
    if (this.#readers > 0) await this.#settled.promise;
  }

  /** Ends the readers after the blocks in hand. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#readers > 0) await this.#settled.promise;
  }

  async #runReader(): Promise<void> {
    try {
      for (let index = this.#next(); index !== undefined; index = this.#next()) {
        this.#reading.add(index);
        try {
          await this.#verify(index);
        } finally {
          this.#reading.delete(index);
        }
        const sinceMs = this.#options.clock.monotonicMs() - this.#journalledMs;
        const isDue = this.#unjournalled.length >= JOURNAL_BATCH && sinceMs >= JOURNAL_INTERVAL_MS;
        if (isDue) await this.#journalVerified();
      }
      if (this.#readers === 1) await this.#journalVerified();
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

  /** The next durable block behind the last one, around the end. */
  #next(): number | undefined {
    const { table } = this.#options;
    if (this.#isStopped) return undefined;
    for (let laps = 0; laps < 2; laps++) {
      let index = table.nextDurable(this.#cursor);
      for (; index !== undefined; index = table.nextDurable(index + 1)) {
        if (this.#reading.has(index)) continue;
        this.#cursor = index + 1;
        return index;
      }
      this.#cursor = 0;
    }
    return undefined;
  }

  async #verify(number: number): Promise<void> {
    const { table, locks, geometry } = this.#options;
    using _lock = await locks.lock(number, 1);
    // A newer write had the lock before us.
    if (table.stateOf(number) !== 'durable') return;
    const index = blockIndexOf(number, geometry);
    const offset = offsetOf(index, geometry);
    using slab = await this.#slabs.take();
    const bytes = slab.bytes.subarray(0, lengthOf(index, geometry));
    const doubts = this.#doubts;
    const first = await this.#compare(number, bytes, offset);
    // Once more: a bit that flipped on its way from the disk is not on the disk.
    const failure = first === undefined ? undefined : await this.#compare(number, bytes, offset);
    if (failure === undefined) {
      if (first !== undefined) this.#options.events.onUnstable?.(number, offset);
      // Read before a write went astray: it is still durable, and its turn comes again.
      if (doubts !== this.#doubts) return;
      // The lock kept every writer away while it was read.
      assert.equal(table.stateOf(number), 'durable');
      table.set(number, 'verified');
      this.#unjournalled.push(number);
      return;
    }
    // Not journalled: it stays as it is, for the next process to find, and with it what it makes doubtful.
    if (!(await this.#doubtVerified())) return;
    if (!(await this.#whenRoom(() => this.#options.journal.forgetBlocks([number])))) return;
    table.set(number, 'absent');
    const count = (this.#mismatches.get(number) ?? 0) + 1;
    this.#mismatches.set(number, count);
    this.#options.events.onMismatch?.(number, offset, count, failure);
  }

  /**
   * Where the bytes of a block that is different went nobody knows, or whether those of one that can't be
   * read were ever written there: perhaps over a block that was right when it was read.
   */
  async #doubtVerified(): Promise<boolean> {
    // All of it at once: the other reader must not journal in between what it verified before.
    return await this.#whenRoom(() => {
      this.#options.journal.forgetVerified();
      this.#doubts++;
      this.#unjournalled = [];
      this.#options.table.doubtVerified();
    });
  }

  /** @returns why it is not what was written; undefined when it is. */
  async #compare(index: number, bytes: Buffer<ArrayBuffer>, offset: number): Promise<string | undefined> {
    const { target, digest, table, journal, zeroDigests } = this.#options;
    try {
      const method = await target.readBack(bytes, offset);
      if (method !== 'direct' && this.#method === 'direct') {
        this.#method = method;
        await this.#whenRoom(() => journal.setProperties({ readBackMethod: method }));
      }
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

  async #journalVerified(): Promise<void> {
    const { journal, table, clock } = this.#options;
    this.#journalledMs = clock.monotonicMs();
    const batch = this.#unjournalled;
    this.#unjournalled = [];
    // Those that were overwritten since have left the journal.
    await this.#whenRoom(() =>
      journal.recordVerified(batch.filter((index) => table.stateOf(index) === 'verified')),
    );
  }

  /** A full disk under the journal is waited for. @returns false when there is no more time to wait. */
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
