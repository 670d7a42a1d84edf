/**
 * Has blocks copied on the target whose bytes another durable block there holds already. A target that holds
 * blocks under their digests is asked for each of them. Only one attempt is made: whatever it fails of, the
 * block is sent instead, and sending decides about the failure.
 */
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { indexesOf, type Range } from '../../common/ranges.ts';
import { Semaphore } from '../../common/semaphore.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { ReadBlock } from '../source/read-block.ts';
import { DurableDigests } from './durable-digests.ts';
import type { OwedBlocks } from './owed-blocks.ts';

/** Most of a copy is a round trip on a full line; each takes the receiver's memory for one block. */
const COPIES_MAX = 8;
/**
 * A copy must take at most this part of what sending takes. It uses the target's disk twice, to read and to
 * write: where the disk is the limit, and not the line, copying would slow everything down.
 */
const COPY_PART_MAX = 0.5;
/** While copying does not pay, one in so many of the blocks that could be copied is, to measure again. */
const PROBE_EVERY_BLOCKS = 32;
/** After so many refusals in a row the candidates are worth nothing: something else is wrong. */
const REFUSALS_MAX = 8;
/** Weight of earlier measurements, with each block. */
const DECAY = 0.8;

export interface BlockCopierOptions {
  readonly transferId: string;
  readonly geometry: Geometry;
  /** The target finds blocks by their digests, of whatever disk. */
  readonly holdsDigests: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export class BlockCopier {
  readonly #options: BlockCopierOptions;
  readonly #durable: DurableDigests;
  readonly #copies = new Semaphore(COPIES_MAX);
  #sendingCount = 0;
  /** What a block takes; undefined before the first. Lanes that wait for their turn say nothing about it. */
  #copyMs: number | undefined;
  #sendMs: number | undefined;
  /** From one block that is sent to the next, over all lanes. */
  #sendIntervalMs = 0;
  #unprobed = 0;
  #refusals = 0;
  #isOff = false;

  constructor(options: BlockCopierOptions) {
    this.#options = options;
    this.#durable = new DurableDigests(blockCountOf(options.geometry));
  }

  /** @param digest of each of these blocks, which are durable. */
  noteDurable(ranges: readonly Range[], digest: Buffer): void {
    if (this.#isOff || this.#options.holdsDigests) return;
    for (const index of indexesOf(ranges)) if (this.#isWhole(index)) this.#durable.add(digest, index);
  }

  /** Runs what sends a block, to learn how fast that is. */
  async timeSending<Result>(send: () => Promise<Result>): Promise<Result> {
    const startMs = this.#options.clock.monotonicMs();
    this.#sendingCount++;
    try {
      const result = await send();
      const ms = this.#options.clock.monotonicMs() - startMs;
      const intervalMs = ms / this.#sendingCount;
      this.#sendIntervalMs = averaged(this.#sendMs && this.#sendIntervalMs, intervalMs);
      this.#sendMs = averaged(this.#sendMs, ms);
      return result;
    } finally {
      this.#sendingCount--;
    }
  }

  /**
   * @returns what the receiver owes if it has copied the block; undefined if it has to be sent.
   * @throws the signal's reason, and anything but a TransferError.
   */
  async copy(lane: ReceiverClient, block: ReadBlock): Promise<OwedBlocks | undefined> {
    const { clock, signal, transferId, holdsDigests } = this.#options;
    const { index, digest } = block;
    if (this.#isOff || block.unreadable.length > 0) return undefined;
    const from = holdsDigests ? undefined : this.#candidateFor(block);
    if (!holdsDigests && from === undefined) return undefined;
    using _turn = await this.#copies.take(signal);
    const startMs = clock.monotonicMs();
    try {
      const { epoch, generation, ...result } = await lane.copyBlock(block, from, signal);
      // Sending it will say so.
      if (result.transferId !== transferId) return undefined;
      this.#refusals = 0;
      this.#noteCopied(startMs);
      return { ranges: [[index, 1]], digest, epoch, generation };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TransferError)) throw error;
      this.#durable.remove(digest);
      // An outage says nothing about copying.
      if (error.code === 'connection-failed') return undefined;
      this.#noteCopied(startMs);
      this.#noteRefusal(error);
      return undefined;
    }
  }

  /** @returns another block that probably has the same bytes, if copying it pays. */
  #candidateFor({ index, digest }: ReadBlock): number | undefined {
    if (!this.#isWhole(index)) return undefined;
    const from = this.#durable.lookUp(digest);
    return from === undefined || from === index || !this.#isWorthIt() ? undefined : from;
  }

  #noteCopied(startMs: number): void {
    this.#copyMs = averaged(this.#copyMs, this.#options.clock.monotonicMs() - startMs);
  }

  /** Only blocks of equal length can be copied: the last one may be shorter. */
  #isWhole(index: number): boolean {
    const { sizeBytes, blockSizeBytes } = this.#options.geometry;
    return (index + 1) * blockSizeBytes <= sizeBytes;
  }

  #isWorthIt(): boolean {
    // The second for runs of equal blocks, in which all lanes wait for copies.
    const isFaster =
      this.#copyMs === undefined ||
      this.#sendMs === undefined ||
      (this.#copyMs <= this.#sendMs * COPY_PART_MAX && this.#copyMs / COPIES_MAX <= this.#sendIntervalMs);
    if (!isFaster && ++this.#unprobed < PROBE_EVERY_BLOCKS) return false;
    this.#unprobed = 0;
    return true;
  }

  #noteRefusal({ code, kind }: TransferError): void {
    // A receiver that does not know the request, or must not carry it out, will not learn it in this run.
    if (kind === 'refused' && code !== 'block-absent') this.#isOff = true;
    // Nothing was promised: most blocks of a new disk are not there.
    if (this.#options.holdsDigests) return;
    if (++this.#refusals >= REFUSALS_MAX) this.#isOff = true;
  }
}

function averaged(before: number | undefined, ms: number): number {
  return before === undefined ? ms : before * DECAY + ms * (1 - DECAY);
}
