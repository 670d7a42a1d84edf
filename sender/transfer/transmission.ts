/**
 * Sends one source to one receiver. The way of a block: a free lane takes it from the supply (a disk or a
 * pipe), compares it with what the target has (compare-block) and, if it differs, adds it to a batch of zeros
 * (zero-batches), has an equal block copied on the target (copy-block), or sends it (send-block). Once the
 * receiver has written it, it is owed (owed-blocks); a later response settles that: it is durable, or it was
 * lost, and then the supply hands it out again.
 */
import assert from 'node:assert/strict';
import type { Clock } from '../../common/clock.ts';
import { DIGEST_BYTES, RootDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { countOf, type Range } from '../../common/ranges.ts';
import type { Retries } from './retry.ts';
import type { FlaggedBlocks } from './flagged-blocks.ts';
import type { BlockSupply, KnownBlock, NextOptions, SuppliedBlock } from '../source/block-supply.ts';
import { BlockComparison, type ComparisonParts } from './compare-block.ts';
import { BlockCopier } from './copy-block.ts';
import { LISTING_COUNT_MAX } from '../../common/protocol/protocol.ts';
import type { BlockEncoder } from '../compression/encode-block.ts';
import type { Lanes } from '../lanes/lanes.ts';
import { Listing } from './listing.ts';
import { OwedLedger, type OwedBlocks, type Settled } from './owed-blocks.ts';
import type { BlockCounters } from './counters.ts';
import type { BlockNotes, LaneWaits } from './block-notes.ts';
import type { ProofSample } from './proof-sample.ts';
import type { ReceiverClient, ResponseInfo } from '../client/receiver-port.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { ReadMap } from '../bad-sectors/read-map.ts';
import type { RecordedAreas } from './recorded-areas.ts';
import type { SendReporter } from './reporter-port.ts';
import { BlockSender, otherTransfer, type BlockSenderOptions } from './send-block.ts';
import { ZeroBatches } from './zero-batches.ts';

/** After so many rounds in which nothing became durable, something is wrong at the other end. */
const IDLE_ROUNDS_MAX = 5;

export interface TransmissionOptions {
  readonly supply: BlockSupply;
  /** The size of a source that has not ended may still change. */
  readonly geometry: Geometry;
  readonly transferId: string;
  /** The target finds blocks by their digests. */
  readonly holdsDigests: boolean;
  /** Nothing may be sent, only compared: blocks that differ are noted here. undefined: it is open. */
  readonly sealed: FlaggedBlocks | undefined;
  readonly recorded: RecordedAreas;
  /** Blocks that the target had at the claim. */
  readonly recordedCount: number;
  /** An earlier run may have left areas of the source out. */
  readonly hasLeftOut: boolean;
  readonly lanes: Lanes;
  readonly retries: Retries;
  readonly counters: BlockCounters;
  readonly clock: Clock;
  /** What has been read of a disk, and in which run; undefined for a pipe. */
  readonly map: ReadMap | undefined;
  readonly reporter: SendReporter;
  /** undefined: blocks are sent plain. */
  readonly encoder?: BlockEncoder | undefined;
  /** Gets each block that is read; undefined: nothing is proven at the end. */
  readonly proof?: ProofSample | undefined;
  /** undefined: nobody watches. */
  readonly notes?: BlockNotes | undefined;
  readonly signal: AbortSignal;
}

export class Transmission {
  readonly #options: TransmissionOptions;
  readonly #supply: BlockSupply;
  readonly #owed = new OwedLedger();
  readonly #comparison: BlockComparison;
  readonly #zeros: ZeroBatches;
  readonly #copier: BlockCopier;
  readonly #blocks: BlockSender;
  readonly #root = new RootDigest();
  readonly #signal: AbortSignal;
  readonly #failure = new AbortController();
  #isReopened = false;
  /** Lanes that wait for a block to be read. */
  #readingCount = 0;

  constructor(options: TransmissionOptions) {
    this.#options = options;
    this.#supply = options.supply;
    this.#signal = AbortSignal.any([options.signal, this.#failure.signal]);
    const signal = this.#signal;
    const retrying: ComparisonParts['retrying'] = async (attempt) => await this.#retrying(attempt);
    // Computed for each attempt: a source that ends shortens the listing.
    const countFrom = (from: number): number =>
      Math.min(LISTING_COUNT_MAX, blockCountOf(options.geometry) - from);
    // A new transfer lists nothing: asking would cost a round trip before the first block.
    const list = async (from: number): Promise<Buffer> =>
      options.recordedCount === 0
        ? Buffer.alloc(countFrom(from) * DIGEST_BYTES)
        : await this.#options.lanes.control.listDigests(from, countFrom(from), signal);
    const listing = new Listing(async (from) => await retrying(async () => await list(from)));
    this.#zeros = new ZeroBatches(options.geometry.blockSizeBytes);
    const { describer } = options.supply;
    this.#comparison = new BlockComparison({ ...options, describer, listing, retrying, signal });
    this.#copier = new BlockCopier({ ...options, signal });
    const check: BlockSenderOptions['check'] = async (block) => await options.supply.check(block, signal);
    this.#blocks = new BlockSender({ ...options, check, signal });
  }

  /** A sealed transfer takes blocks again: one that was unreadable could be read. */
  get isReopened(): boolean {
    return this.#isReopened;
  }

  /** As of the last look at the lanes. */
  get waits(): LaneWaits {
    return { source: this.#readingCount, ...this.#blocks.waits };
  }

  /** Milliseconds that blocks have been in flight so far, summed over all lanes. */
  get sendingMs(): number {
    return this.#blocks.sendingMs;
  }

  /** Bytes of blocks that have arrived in part, or are written and not durable yet. */
  get bytesUnderWay(): number {
    return this.#owed.blockCount * this.#options.geometry.blockSizeBytes + this.#blocks.bytesArrived;
  }

  /**
   * Sends until every block is durable.
   * @returns the root: 32 bytes over the digests of the blocks as they were read.
   * @throws TransferError the first failure; the other lanes have stopped by then.
   */
  async run(): Promise<Buffer> {
    await this.#drain();
    assert.equal(this.#root.count, blockCountOf(this.#options.geometry));
    return this.#root.finish();
  }

  /** Reads and sends blocks again. They do not count as durable when this is called. */
  async sendAgain(ranges: readonly Range[]): Promise<void> {
    this.#supply.sendAgain(ranges);
    this.#options.notes?.lost(ranges);
    await this.#drain();
  }

  /** Until nothing is left to send and nothing is owed. */
  async #drain(): Promise<void> {
    for (let idleRounds = 0; idleRounds < IDLE_ROUNDS_MAX; idleRounds++) {
      const durableBefore = this.#options.counters.durable;
      await this.#runLanes();
      await this.#sendZeros(this.#options.lanes.control, this.#zeros.takeAll());
      if (this.#owed.blockCount > 0) await this.#flush(this.#options.lanes.control);
      if (this.#supply.isEmpty) return;
      if (this.#options.counters.durable > durableBefore) idleRounds = 0;
    }
    throw new TransferError(
      'io-error',
      `the receiver wrote blocks ${IDLE_ROUNDS_MAX} times, but none became durable`,
      { hint: 'check the messages of ddt-receive and its disk, then run the same command again to resume' },
    );
  }

  async #runLanes(): Promise<void> {
    try {
      await this.#options.lanes.run(async (lane, isWanted) => await this.#runLane(lane, isWanted));
    } finally {
      this.#signal.throwIfAborted();
    }
  }

  async #runLane(lane: ReceiverClient, isWanted: () => boolean): Promise<'done' | 'dismissed'> {
    const hasWork = (): boolean => !this.#supply.isEmpty;
    const next: NextOptions = {
      flush: async () => await this.#flush(lane),
      readBefore: async (index) => await this.#comparison.readBefore(index),
      signal: this.#signal,
    };
    try {
      while (isWanted()) {
        this.#signal.throwIfAborted();
        using supplied = await this.#nextBlock(next);
        this.#signal.throwIfAborted();
        if (supplied !== undefined) await this.#carry(lane, supplied);
        else {
          const { wasOverdue, owed } = await this.#blocks.hedge(lane, hasWork);
          this.#owe(owed);
          if (!wasOverdue && !hasWork()) return 'done';
        }
      }
      return 'dismissed';
    } catch (error) {
      // The first reason wins; the other lanes see an aborted signal.
      this.#failure.abort(error);
      throw error;
    }
  }

  async #nextBlock(next: NextOptions): Promise<SuppliedBlock | KnownBlock | undefined> {
    this.#readingCount++;
    try {
      return await this.#supply.next(next);
    } finally {
      this.#readingCount--;
    }
  }

  /** From the supply until it is known to be on the target, waits in a batch of zeros, or is owed. */
  async #carry(lane: ReceiverClient, supplied: SuppliedBlock | KnownBlock): Promise<void> {
    if ('known' in supplied) return this.#skip(supplied.known.index, supplied.known.digest);
    const { counters, sealed, notes } = this.#options;
    const { isFirst } = supplied;
    const { index } = supplied.block;
    notes?.read(supplied.block);
    const { block, isThere } = isFirst
      ? await this.#comparison.compare(supplied.block, lane)
      : { block: supplied.block, isThere: false };
    if (isFirst) this.#options.proof?.offer(block);
    if (isThere) return this.#skip(index, block.digest);
    if (isFirst) {
      this.#root.add(index, block.digest);
      counters.read++;
      if (sealed !== undefined && !(await this.#reopen(lane, index))) {
        sealed.add(index);
        notes?.different(index);
        return this.#supply.release([[index, 1]]);
      }
    }
    // What differed from a sealed copy was read and left; it is sent for the first time after reopening.
    const isNew = isFirst || sealed?.remove(index) === true;
    if (!isNew) counters.resent++;
    // Unreadable areas look like zeros, but their place has to be recorded.
    if (block.isZero && block.unreadable.length === 0) {
      if (isNew) counters.zero++;
      this.#supply.release([[index, 1]]);
      const full = this.#zeros.add(index);
      if (full !== undefined) await this.#sendZeros(lane, full);
      return;
    }
    await this.#transmit(lane, block, isNew);
  }

  async #transmit(lane: ReceiverClient, block: ReadBlock, isNew: boolean): Promise<void> {
    const { counters } = this.#options;
    const copied = await this.#copier.copy(lane, block);
    if (copied !== undefined) {
      this.#options.notes?.copied(block.index);
      this.#owe(copied);
      if (isNew) counters.copied++;
      return;
    }
    this.#owe(await this.#copier.timeSending(async () => await this.#blocks.send(lane, block)));
    if (isNew) counters.sent++;
  }

  /** Already on the target with the same digest. */
  #skip(index: number, digest: Buffer): void {
    const { counters, retries, notes } = this.#options;
    this.#root.add(index, digest);
    notes?.present(index, digest);
    counters.read++;
    counters.skipped++;
    counters.durable++;
    this.#supply.release([[index, 1]]);
    this.#comparison.noteDurable([[index, 1]]);
    this.#copier.noteDurable([[index, 1]], digest);
    retries.noteProgress();
  }

  /** A sealed transfer takes only blocks that could not be read before. @returns whether this is one. */
  async #reopen(lane: ReceiverClient, index: number): Promise<boolean> {
    if (!this.#options.recorded.has(index)) return false;
    if (this.#isReopened) return true;
    try {
      await this.#retrying(async () => await lane.reopen(this.#signal));
    } catch (error) {
      // The target has to be updated first: this block counts as one that differs.
      if (error instanceof TransferError && error.code === 'target-differs') return false;
      throw error;
    }
    this.#isReopened = true;
    return true;
  }

  async #sendZeros(lane: ReceiverClient, ranges: readonly Range[]): Promise<void> {
    if (ranges.length === 0) return;
    await this.#retrying(async () => {
      const startMs = this.#options.clock.monotonicMs();
      const { transferId, epoch, generation } = await lane.zero(ranges, this.#signal);
      if (transferId !== this.#options.transferId) throw otherTransfer();
      this.#zeros.noteDuration(this.#options.clock.monotonicMs() - startMs);
      this.#owe({ ranges, digest: undefined, epoch, generation });
    });
  }

  #owe(blocks: OwedBlocks | undefined): void {
    if (blocks === undefined) return;
    this.#options.notes?.written(blocks.ranges);
    if (!this.#owed.add(blocks)) this.#settle({ durable: [], lost: [blocks] });
  }

  /** To be called with every response on every connection. */
  noteResponse(info: ResponseInfo): void {
    const { counters } = this.#options;
    counters.verified = Math.min(info.verifiedCount, counters.total);
    this.#settle(this.#owed.settle(info, this.#options.clock.monotonicMs()));
  }

  /** Everything that was written before this call is durable when it resolves, or will be sent again. */
  async #flush(lane: ReceiverClient): Promise<void> {
    const owed = this.#owed.all();
    await this.#retrying(async () => await lane.flush(this.#signal));
    // The response has settled all that is durable; what is still owed was lost without notice.
    this.#settle({ durable: [], lost: this.#owed.take(owed) });
  }

  #settle({ durable, lost }: Settled): void {
    for (const { ranges, digest } of durable) {
      this.#options.counters.durable += countOf(ranges);
      this.#supply.release(ranges);
      this.#comparison.noteDurable(ranges);
      this.#options.notes?.durable(ranges, digest);
      if (digest !== undefined) this.#copier.noteDurable(ranges, digest);
    }
    if (durable.length > 0) this.#options.retries.noteProgress();
    for (const { ranges, digest } of lost) {
      this.#options.notes?.lost(ranges);
      for (const [first, count] of ranges) {
        for (let index = first; index < first + count; index++) {
          this.#supply.putBack(index, digest ?? this.#supply.describer.zeroDigests.of(index));
        }
      }
    }
  }

  async #retrying<Result>(attempt: () => Promise<Result>): Promise<Result> {
    return await this.#options.retries.run(this.#signal, attempt);
  }
}
