/**
 * The durability contract in one place: which writes count, when they are flushed, and in which order that is
 * recorded. Data strictly before journal, journal strictly before the published generation.
 *
 * A block goes absent → written (generation g) → durable. Generations count finished writes within an epoch;
 * a flush makes all finished writes up to its start durable. An error of a write or a flush ends the epoch:
 * what was not durable is absent again, because the kernel reports a failed write-back once and then forgets
 * it, so that a second flush that succeeds proves nothing about the first one's data.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Area } from '../../common/areas.ts';
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { othersTurn } from '../../common/event-loop.ts';
import { SharedRun } from './single-flight.ts';
import type { BlockTable } from './block-table.ts';
import type { DurabilityEvents } from './durability-events.ts';
import { JOURNAL_RETRY_MS, type DurableBlock, type Journal } from '../journal/journal.ts';
import type { Target } from '../target/target.ts';

/** A crash loses at most a second of written blocks, which are then sent again. */
export const FLUSH_INTERVAL_MS = 1000;
/** A fast line writes more than this within a second; flushing earlier keeps a flush short. */
export const FLUSH_BYTES = 256 * 1024 * 1024;
/**
 * After so many failed flushes in a row writes are refused for a while: a sender that gets "written" while
 * every flush fails would send the same blocks forever.
 */
export const FLUSH_ERRORS_MAX = 3;
/** Long enough for a sender to report it, short enough not to delay the next run. */
export const FLUSH_ERRORS_PAUSE_MS = 30_000;

/** Blocks in one transaction of the journal: some ten milliseconds, during which nothing else is done. */
const RECORDED_BLOCKS_MAX = 2048;

interface WrittenBlock {
  readonly generation: number;
  readonly digest: Buffer;
}

/** Proof that a write was announced; the caller hands it back when the write ends. */
export interface WritePermit {
  readonly epoch: string;
  readonly indexes: readonly number[];
}

export class Durability {
  readonly #target: Target;
  readonly #journal: Journal;
  #table: BlockTable;
  #events: DurabilityEvents;
  readonly #written = new Map<number, WrittenBlock>();
  #epoch = randomBytes(8).toString('hex');
  #generation = 0;
  #durableGeneration = 0;
  #unflushedBytes = 0;
  readonly #clock: Clock;
  #pause: AbortController | undefined;
  readonly #flushes = new SharedRun(async () => await this.#flushOnce());
  #journalFull: TransferError | undefined;
  #isFlushForced = false;
  #flushErrors = 0;
  #refusedUntilMs = -Infinity;

  constructor(options: {
    target: Target;
    journal: Journal;
    table: BlockTable;
    clock: Clock;
    events: DurabilityEvents;
  }) {
    ({ clock: this.#clock, target: this.#target, journal: this.#journal } = options);
    ({ table: this.#table, events: this.#events } = options);
  }

  /**
   * Continues with the blocks of another size. The kernel reports a failed write-back once: what flushes
   * the target has to know everything that was written to it. To be called when all of that is flushed.
   */
  continueWith(table: BlockTable, events: DurabilityEvents): void {
    assert.equal(this.#written.size, 0);
    this.#table = table;
    this.#events = events;
  }

  get epoch(): string {
    return this.#epoch;
  }

  get durableGeneration(): number {
    return this.#durableGeneration;
  }

  /** The generation of a written block; of a durable one the published generation, which covers it. */
  generationOf(index: number): number {
    return this.#written.get(index)?.generation ?? this.#durableGeneration;
  }

  /**
   * Announces that these blocks are about to be overwritten. From here on they are absent, and the journal
   * says so durably where it said otherwise: a crash in the middle of the write must not leave a torn block
   * that is listed.
   * @throws TransferError `no-space` while the journal has no room, `journal-error`, `io-error` when the
   * target has failed again and again.
   */
  announce(indexes: readonly number[]): WritePermit {
    if (this.#journalFull !== undefined) throw this.#journalFull;
    if (this.#clock.monotonicMs() < this.#refusedUntilMs) throw this.#targetBroken();
    const listed = indexes.filter((index) => this.#table.isDurable(index));
    if (listed.length > 0) this.#writeJournal(() => this.#journal.forgetBlocks(listed));
    for (const index of indexes) {
      this.#written.delete(index);
      this.#table.set(index, 'absent');
    }
    return { epoch: this.#epoch, indexes };
  }

  /**
   * The target has taken the announced bytes.
   * @returns the write's generation. @throws TransferError `io-error` when the epoch ended meanwhile.
   */
  finishWrite(permit: WritePermit, digestOf: (index: number) => Buffer, lengthBytes: number): number {
    if (permit.epoch !== this.#epoch) {
      throw new TransferError(
        'io-error',
        'a write or flush of the target failed while this block was written',
      );
    }
    this.#generation++;
    for (const index of permit.indexes) {
      assert.equal(this.#table.stateOf(index), 'absent');
      const digest = Buffer.from(digestOf(index));
      this.#written.set(index, { generation: this.#generation, digest });
      this.#table.set(index, 'written', digest);
    }
    this.#unflushedBytes += lengthBytes;
    if (this.#unflushedBytes >= FLUSH_BYTES) this.#flushSoon(0);
    else this.#flushSoon(FLUSH_INTERVAL_MS);
    return this.#generation;
  }

  /** The announced write failed. Unless the disk is just full, this ends the epoch. */
  failWrite(permit: WritePermit, error: TransferError): void {
    if (error.code !== 'no-space' && permit.epoch === this.#epoch) this.#endEpoch(error);
  }

  /** Replaces the unreadable areas of a durable block, which stays durable. @throws as {@link announce}. */
  recordUnreadable(index: number, unreadable: readonly Area[]): void {
    this.#writeJournal(() => this.#journal.recordUnreadable(index, unreadable));
    this.#table.setUnreadable(index, unreadable);
  }

  /**
   * Barrier: every write that was finished before the call is durable when it resolves. Calls share flushes.
   * @throws TransferError `io-error`, `no-space`, `journal-error`.
   */
  async flush(): Promise<void> {
    await this.#flushes.run();
  }

  /**
   * Like {@link flush}, but also when no write of ours is unflushed: bytes that other programs left in the
   * page cache of the target are then written, and counted, before the seal rather than after it.
   */
  async flushEverything(): Promise<void> {
    this.#isFlushForced = true;
    await this.flush();
  }

  /** Stops the timer; unflushed blocks stay unflushed. */
  close(): void {
    this.#pause?.abort();
  }

  async #flushOnce(): Promise<void> {
    this.#pause?.abort();
    this.#pause = undefined;
    this.#unflushedBytes = 0;
    const epoch = this.#epoch;
    const upTo = this.#generation;
    if (this.#written.size === 0) this.#journalFull = undefined;
    const isForced = this.#isFlushForced;
    this.#isFlushForced = false;
    if (this.#written.size === 0 && upTo === this.#durableGeneration && !isForced) return;
    try {
      await this.#target.flush();
    } catch (error) {
      const failure = error instanceof TransferError ? error : new TransferError('io-error', String(error));
      // Even if the epoch has ended meanwhile: the error may concern writes of the new one.
      this.#flushErrors++;
      if (this.#flushErrors >= FLUSH_ERRORS_MAX) {
        this.#refusedUntilMs = this.#clock.monotonicMs() + FLUSH_ERRORS_PAUSE_MS;
      }
      this.#endEpoch(failure);
      throw failure;
    }
    if (epoch !== this.#epoch) throw failedDuringFlush();
    const isAnyDurable = await this.#recordFlushed(upTo);
    // A write may have failed before this function continues.
    if (epoch !== this.#epoch) throw failedDuringFlush();
    this.#durableGeneration = upTo;
    this.#flushErrors = 0;
    if (isAnyDurable) this.#events.onDurable?.();
    if (this.#written.size > 0) this.#flushSoon(FLUSH_INTERVAL_MS);
  }

  /** Records the blocks up to a generation that was flushed. @returns whether there were any. */
  async #recordFlushed(upTo: number): Promise<boolean> {
    const epoch = this.#epoch;
    for (let batches = 0; ; batches++) {
      // Without an await from here to the journal: a block that is being written again has left the map.
      const blocks = this.#flushedBlocks(upTo);
      if (blocks.length > 0) this.#writeJournal(() => this.#journal.recordDurable(blocks));
      for (const { index } of blocks) {
        assert.equal(this.#table.stateOf(index), 'written');
        this.#written.delete(index);
        this.#table.set(index, 'durable');
      }
      if (blocks.length < RECORDED_BLOCKS_MAX) return batches > 0 || blocks.length > 0;
      await othersTurn();
      if (epoch !== this.#epoch) throw failedDuringFlush();
    }
  }

  /** The first of them; the map is in the order of generations. */
  #flushedBlocks(upTo: number): DurableBlock[] {
    const blocks: DurableBlock[] = [];
    for (const [index, { generation, digest }] of this.#written) {
      if (generation > upTo || blocks.length === RECORDED_BLOCKS_MAX) break;
      blocks.push({ index, digest, unreadable: this.#table.unreadable.of(index) });
    }
    return blocks;
  }

  #flushSoon(delayMs: number): void {
    if (this.#pause !== undefined && delayMs > 0) return;
    this.#pause?.abort();
    this.#pause = new AbortController();
    void this.#flushAfter(delayMs, this.#pause.signal);
  }

  async #flushAfter(delayMs: number, signal: AbortSignal): Promise<void> {
    try {
      if (delayMs > 0) await this.#clock.sleep(delayMs, signal);
      await this.flush();
    } catch {
      // Aborted; or the flush failed, which has ended the epoch, and every response says so.
    }
  }

  #endEpoch(error: TransferError): void {
    this.#epoch = randomBytes(8).toString('hex');
    this.#generation = 0;
    this.#durableGeneration = 0;
    this.#unflushedBytes = 0;
    const lostBlocks = this.#written.size;
    for (const index of this.#written.keys()) this.#table.set(index, 'absent');
    this.#written.clear();
    // The pending retry may be the very flush that failed: the next change tries the journal again.
    this.#journalFull = undefined;
    this.#events.onEpochEnd?.(error, lostBlocks);
  }

  #targetBroken(): TransferError {
    const what = `the flush of ${this.#target.identity.path} failed ${this.#flushErrors} times in a row`;
    const hint = 'check the disk, then run the same command again to resume';
    return new TransferError('io-error', `${what}: writes are refused for a while`, { hint });
  }

  #writeJournal(write: () => void): void {
    try {
      write();
      this.#journalFull = undefined;
    } catch (error) {
      assert(error instanceof TransferError);
      if (error.code === 'no-space') {
        this.#journalFull = error;
        this.#flushSoon(JOURNAL_RETRY_MS);
      } else {
        this.#events.onJournalBroken(error);
      }
      throw error;
    }
  }
}

function failedDuringFlush(): TransferError {
  return new TransferError('io-error', 'a write to the target failed during the flush');
}
