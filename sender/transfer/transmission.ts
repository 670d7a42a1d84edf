/**
 * The sending of one source to one receiver: lanes pull blocks, compare them with what is there, send what
 * differs, and keep account until all of it is durable.
 */
import assert from 'node:assert/strict';
import type { Clock } from '../../common/clock.ts';
import { RootDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { countOf, type Range } from '../../common/ranges.ts';
import type { Retries } from './retry.ts';
import type { BlockSupply, KnownBlock, NextOptions, SuppliedBlock } from '../source/block-supply.ts';
import { BlockComparison, type ComparisonParts } from './compare-block.ts';
import { LISTING_COUNT_MAX } from '../../common/protocol/protocol.ts';
import type { BlockEncoder } from '../compression/encode-block.ts';
import type { Lanes } from '../lanes/lanes.ts';
import { Listing } from './listing.ts';
import { OwedLedger, type OwedBlocks, type Settled } from './owed-blocks.ts';
import type { BlockCounters } from './counters.ts';
import type { ReceiverClient, ResponseInfo } from '../client/receiver-port.ts';
import type { ReadMap } from '../bad-sectors/read-map.ts';
import type { RecordedAreas } from './recorded-areas.ts';
import type { SendReporter } from './reporter-port.ts';
import { BlockSender, otherTransfer } from './send-block.ts';
import { ZeroBatches } from './zero-batches.ts';

/** Rounds of sending in which nothing became durable; then something is wrong at the other end. */
const IDLE_ROUNDS_MAX = 5;

export interface TransmissionOptions {
  readonly supply: BlockSupply;
  /** Of a source that has not ended its size may still change. */
  readonly geometry: Geometry;
  readonly transferId: string;
  /** Already: nothing may be sent, only compared. */
  readonly isSealed: boolean;
  readonly recorded: RecordedAreas;
  readonly lanes: Lanes;
  readonly retries: Retries;
  readonly counters: BlockCounters;
  readonly clock: Clock;
  /** Of a disk: what was read of it, and in which run. */
  readonly map: ReadMap | undefined;
  readonly reporter: SendReporter;
  /** None: blocks are sent plain. */
  readonly encoder?: BlockEncoder | undefined;
  readonly signal: AbortSignal;
}

export class Transmission {
  readonly #options: TransmissionOptions;
  readonly #supply: BlockSupply;
  readonly #owed = new OwedLedger();
  readonly #comparison: BlockComparison;
  readonly #zeros: ZeroBatches;
  readonly #blocks: BlockSender;
  readonly #root = new RootDigest();
  readonly #signal: AbortSignal;
  readonly #failure = new AbortController();
  #isReopened = false;

  constructor(options: TransmissionOptions) {
    this.#options = options;
    this.#supply = options.supply;
    this.#signal = AbortSignal.any([options.signal, this.#failure.signal]);
    const signal = this.#signal;
    const retrying: ComparisonParts['retrying'] = async (attempt) => await this.#retrying(attempt);
    // Counted anew in each attempt: a source that ends makes the listing shorter.
    const countFrom = (from: number): number =>
      Math.min(LISTING_COUNT_MAX, blockCountOf(options.geometry) - from);
    const list = async (from: number): Promise<Buffer> =>
      await this.#options.lanes.control.listDigests(from, countFrom(from), signal);
    const listing = new Listing(async (from) => await retrying(async () => await list(from)));
    this.#zeros = new ZeroBatches(options.geometry.blockSizeBytes);
    const { describer } = options.supply;
    this.#comparison = new BlockComparison({ ...options, describer, listing, retrying, signal });
    this.#blocks = new BlockSender({
      ...options,
      check: async (block) => await options.supply.check(block, signal),
      signal,
      owe: (blocks) => this.#owe(blocks),
    });
  }

  /** Milliseconds that blocks have been under way so far, all lanes together. */
  get sendingMs(): number {
    return this.#blocks.sendingMs;
  }

  /** To be called with every reply of every connection. */
  noteResponse(info: ResponseInfo): void {
    const { counters, retries } = this.#options;
    if (info.verifiedCount > counters.verified) retries.noteProgress();
    counters.verified = Math.min(info.verifiedCount, counters.total);
    this.#account(this.#owed.settle(info));
  }

  /**
   * Sends until every block is durable.
   * @returns the root: 32 bytes over the digests of the blocks as they were read.
   * @throws TransferError the first failure; the other lanes have stopped then.
   */
  async run(): Promise<Buffer> {
    await this.#drain();
    assert.equal(this.#root.count, blockCountOf(this.#options.geometry));
    return this.#root.finish();
  }

  /** The receiver misses these after all. They are read and sent once more. */
  async sendAgain(ranges: readonly Range[]): Promise<void> {
    this.#supply.sendAgain(ranges);
    this.#options.counters.durable -= countOf(ranges);
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
      { hint: 'look at the messages of ddt-receive and at its disk; the same command goes on' },
    );
  }

  async #runLanes(): Promise<void> {
    try {
      await this.#options.lanes.run(async (lane, isWanted) => await this.#runLane(lane, isWanted));
    } finally {
      this.#signal.throwIfAborted();
    }
  }

  async #runLane(lane: ReceiverClient, isWanted: () => boolean): Promise<'done' | 'sent away'> {
    const hasWork = (): boolean => !this.#supply.isEmpty;
    try {
      const next: NextOptions = {
        flush: async () => await this.#flush(lane),
        readBefore: async (index) => await this.#comparison.readBefore(index),
        signal: this.#signal,
      };
      while (isWanted()) {
        this.#signal.throwIfAborted();
        using supplied = await this.#supply.next(next);
        this.#signal.throwIfAborted();
        if (supplied !== undefined) await this.#process(lane, supplied);
        else if (!(await this.#blocks.help(lane, hasWork)) && !hasWork()) return 'done';
      }
      return 'sent away';
    } catch (error) {
      // The first reason wins; the other lanes see an aborted signal.
      this.#failure.abort(error);
      throw error;
    }
  }

  /** All that was written when this was called is durable, or will be sent again. */
  async #flush(lane: ReceiverClient): Promise<void> {
    const owed = this.#owed.all();
    await this.#retrying(async () => await lane.flush(this.#signal));
    // Its reply has settled all that is durable; what is owed still was lost without our being told.
    this.#account({ durable: [], lost: this.#owed.take(owed) });
  }

  async #process(lane: ReceiverClient, supplied: SuppliedBlock | KnownBlock): Promise<void> {
    if ('known' in supplied) return this.#skip(supplied.known.index, supplied.known.digest);
    const { isFirst } = supplied;
    const { index } = supplied.block;
    const { block, isThere } = isFirst
      ? await this.#comparison.compare(supplied.block, lane)
      : { block: supplied.block, isThere: false };
    if (isThere) return this.#skip(index, block.digest);
    if (isFirst) {
      this.#root.add(index, block.digest);
      this.#options.counters.read++;
      if (this.#options.isSealed) await this.#reopen(lane, index);
    } else this.#options.counters.resent++;
    // What could not be read is no zero, though it looks like one: its place has to go along.
    if (block.isZero && block.unreadable.length === 0) {
      if (isFirst) this.#options.counters.zero++;
      this.#supply.release([[index, 1]]);
      const full = this.#zeros.add(index);
      if (full !== undefined) await this.#sendZeros(lane, full);
      return;
    }
    await this.#blocks.send(lane, block);
    if (isFirst) this.#options.counters.sent++;
  }

  /** It is there, just like that. */
  #skip(index: number, digest: Buffer): void {
    const { counters, retries } = this.#options;
    this.#root.add(index, digest);
    counters.read++;
    counters.skipped++;
    counters.durable++;
    this.#supply.release([[index, 1]]);
    this.#comparison.noteDurable([[index, 1]]);
    retries.noteProgress();
  }

  /** Into a sealed transfer only what could not be read before. @throws TransferError `sealed`. */
  async #reopen(lane: ReceiverClient, index: number): Promise<void> {
    if (!this.#options.recorded.has(index)) throw this.#supply.differsFromSealed(index);
    if (!this.#isReopened) await this.#retrying(async () => await lane.reopen(this.#signal));
    this.#isReopened = true;
  }

  async #sendZeros(lane: ReceiverClient, ranges: readonly Range[]): Promise<void> {
    if (ranges.length === 0) return;
    await this.#retrying(async () => {
      const startMs = this.#options.clock.monotonicMs();
      const receipt = await lane.zero(ranges, this.#signal);
      if (receipt.transferId !== this.#options.transferId) throw otherTransfer();
      this.#zeros.noteDuration(this.#options.clock.monotonicMs() - startMs);
      this.#owe({ ranges, digest: undefined, epoch: receipt.epoch, generation: receipt.generation });
    });
  }

  #owe(blocks: OwedBlocks): void {
    if (!this.#owed.add(blocks)) this.#account({ durable: [], lost: [blocks] });
  }

  #account({ durable, lost }: Settled): void {
    for (const { ranges } of durable) {
      this.#options.counters.durable += countOf(ranges);
      this.#supply.release(ranges);
      this.#comparison.noteDurable(ranges);
    }
    if (durable.length > 0) this.#options.retries.noteProgress();
    for (const { ranges, digest } of lost) {
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
