/**
 * The sending of one source to one receiver: lanes pull blocks, compare them with what is there, send what
 * differs, and keep account until all of it is durable.
 */
import assert from 'node:assert/strict';
import type { SlabPool } from '../common/buffers.ts';
import type { Clock } from '../common/clock.ts';
import { RootDigest, type DigestBlock } from '../common/digest.ts';
import { TransferError } from '../common/errors.ts';
import { blockCountOf, type Geometry } from '../common/geometry.ts';
import { countOf, type Range } from '../common/ranges.ts';
import type { Attempts } from './attempts.ts';
import type { Lanes } from './lanes.ts';
import { Listing } from './listing.ts';
import { OwedLedger, type OwedBlocks, type Settled } from './owed-blocks.ts';
import type { BlockCounters } from './progress.ts';
import { BlockReader } from './read-block.ts';
import type { ReceiverClient, ReplyInfo } from './receiver-port.ts';
import { BlockSender, otherTransfer } from './send-block.ts';
import type { Source } from './source.ts';
import { WorkQueue, type WorkItem } from './work-queue.ts';
import { ZeroBatches } from './zero-batches.ts';

/** Rounds of sending in which nothing became durable; then something is wrong at the other end. */
const IDLE_ROUNDS_MAX = 5;

export interface TransmissionOptions {
  readonly source: Source;
  readonly geometry: Geometry;
  readonly transferId: string;
  /** Sealed already: nothing may be sent, only compared. */
  readonly isSealed: boolean;
  readonly lanes: Lanes;
  readonly slabs: SlabPool;
  readonly attempts: Attempts;
  readonly counters: BlockCounters;
  readonly clock: Clock;
  readonly digest: DigestBlock;
  readonly signal: AbortSignal;
}

export class Transmission {
  readonly #options: TransmissionOptions;
  readonly #queue: WorkQueue;
  readonly #owed = new OwedLedger();
  readonly #listing: Listing;
  readonly #zeros: ZeroBatches;
  readonly #reader: BlockReader;
  readonly #blocks: BlockSender;
  readonly #root = new RootDigest();
  readonly #signal: AbortSignal;
  readonly #failure = new AbortController();

  constructor(options: TransmissionOptions) {
    this.#options = options;
    const blockCount = blockCountOf(options.geometry);
    this.#queue = new WorkQueue(blockCount);
    this.#signal = AbortSignal.any([options.signal, this.#failure.signal]);
    this.#listing = new Listing(
      blockCount,
      async (from, count) =>
        await options.attempts.run(
          this.#signal,
          async () => await this.#control.listDigests(from, count, this.#signal),
        ),
    );
    this.#zeros = new ZeroBatches(options.geometry.blockSizeBytes);
    this.#reader = new BlockReader(options.source, options.geometry, options.digest);
    this.#blocks = new BlockSender({
      ...options,
      reader: this.#reader,
      signal: this.#signal,
      owe: (blocks) => this.#owe(blocks),
    });
  }

  /** Milliseconds that blocks have been under way so far, all lanes together. */
  get sendingMs(): number {
    return this.#blocks.sendingMs;
  }

  /** To be called with every reply of every connection. */
  noteReply(info: ReplyInfo): void {
    const { counters, attempts } = this.#options;
    if (info.verifiedCount > counters.verified) attempts.noteProgress();
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
    for (const [first, count] of ranges) {
      for (let index = first; index < first + count; index++) this.#queue.putBack(index, undefined);
    }
    this.#options.counters.durable -= countOf(ranges);
    await this.#drain();
  }

  /** Until nothing is left to send and nothing is owed. */
  async #drain(): Promise<void> {
    for (let idleRounds = 0; idleRounds < IDLE_ROUNDS_MAX; idleRounds++) {
      const durableBefore = this.#options.counters.durable;
      await this.#runLanes();
      await this.#sendZeros(this.#control, this.#zeros.takeAll());
      if (this.#owed.blockCount > 0) {
        await this.#retrying(async () => await this.#control.flush(this.#signal));
        // Its reply has settled all that is durable; what is owed still was lost without our being told.
        this.#account({ durable: [], lost: this.#owed.takeAll() });
      }
      if (this.#queue.isEmpty) return;
      if (this.#options.counters.durable > durableBefore) idleRounds = 0;
    }
    throw new TransferError(
      'io-error',
      `the receiver wrote blocks ${IDLE_ROUNDS_MAX} times, but none became durable`,
      {
        hint: 'look at the messages of ddt-receive and at its disk; the same command goes on',
      },
    );
  }

  get #control(): ReceiverClient {
    return this.#options.lanes.control;
  }

  async #runLanes(): Promise<void> {
    try {
      await this.#options.lanes.run(async (lane, isWanted) => await this.#runLane(lane, isWanted));
    } finally {
      this.#signal.throwIfAborted();
    }
  }

  async #runLane(lane: ReceiverClient, isWanted: () => boolean): Promise<'done' | 'sent away'> {
    const hasWork = (): boolean => !this.#queue.isEmpty;
    try {
      while (isWanted()) {
        this.#signal.throwIfAborted();
        const item = this.#queue.take();
        if (item !== undefined) await this.#process(lane, item);
        else if (!(await this.#blocks.help(lane, hasWork)) && !hasWork()) return 'done';
      }
      return 'sent away';
    } catch (error) {
      // The first reason wins; the other lanes see an aborted signal.
      this.#failure.abort(error);
      throw error;
    }
  }

  async #process(lane: ReceiverClient, item: WorkItem): Promise<void> {
    using slab = await this.#options.slabs.take(this.#signal);
    const block = await this.#reader.read(item.index, slab.bytes);
    if (item.digest !== undefined && !item.digest.equals(block.digest))
      throw this.#reader.changed(item.index);
    if (item.isFirst) {
      this.#root.add(item.index, block.digest);
      this.#options.counters.read++;
      const present = await this.#listing.digestAt(item.index);
      if (present?.equals(block.digest) === true) {
        this.#options.counters.skipped++;
        this.#options.counters.durable++;
        this.#options.attempts.noteProgress();
        return;
      }
    }
    if (this.#options.isSealed) throw this.#reader.differsFromSealed(item.index);
    if (!item.isFirst) this.#options.counters.resent++;
    if (block.isZero) {
      if (item.isFirst) this.#options.counters.zero++;
      const full = this.#zeros.add(item.index);
      if (full !== undefined) await this.#sendZeros(lane, full);
      return;
    }
    await this.#blocks.send(lane, block);
    if (item.isFirst) this.#options.counters.sent++;
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
    for (const { ranges } of durable) this.#options.counters.durable += countOf(ranges);
    if (durable.length > 0) this.#options.attempts.noteProgress();
    for (const { ranges, digest } of lost) {
      for (const [first, count] of ranges) {
        for (let index = first; index < first + count; index++) {
          this.#queue.putBack(index, digest ?? this.#reader.zeroDigests.of(index));
        }
      }
    }
  }

  async #retrying<Result>(attempt: (failure: TransferError | undefined) => Promise<Result>): Promise<Result> {
    return await this.#options.attempts.run(this.#signal, attempt);
  }
}
