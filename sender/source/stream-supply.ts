/**
 * Blocks of a pipe, which cannot be read again: each stays in memory until it is durable at the receiver.
 * When all memory is taken the receiver is asked to flush; then either memory is free, or blocks are lost and
 * are sent again.
 */
import assert from 'node:assert/strict';
import { abortable } from '../../common/abortable.ts';
import type { Slab, SlabPool } from '../../common/io/buffers.ts';
import type { Clock } from '../../common/clock.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import type { Geometry } from '../../common/geometry.ts';
import { countOf, formatRanges, type Range } from '../../common/ranges.ts';
import type { BlockSupply, NextOptions, SuppliedBlock } from './block-supply.ts';
import { BlockDescriber, type ReadBlock } from './read-block.ts';
import type { Stream } from './stream.ts';

/**
 * Ctrl-C reaches every program of a pipeline: the pipe may end a moment before our own signal arrives, and
 * that would look like the end of the source.
 */
export const END_GRACE_MS = 500;

const NO_BYTES = Buffer.alloc(0);

export interface StreamSupplyOptions {
  readonly stream: Stream;
  /** Its size is the maximum until `onEnd` has set the real one. */
  readonly geometry: Geometry;
  /** Two slabs at least. */
  readonly slabs: SlabPool;
  readonly digest: BlockDigest;
  readonly clock: Clock;
  /** Called once when the source has ended, before its last block is supplied. */
  readonly onEnd: (sizeBytes: number, signal: AbortSignal) => Promise<void>;
  /** The error if it continues past the last byte of `geometry`. */
  readonly tooLong: () => TransferError;
}

interface FilledSlab {
  readonly index: number;
  readonly slab: Slab;
  readonly lengthBytes: number;
}

export class StreamSupply implements BlockSupply {
  readonly describer: BlockDescriber;
  readonly #options: StreamSupplyOptions;
  readonly #kept = new Map<number, { readonly slab: Slab; readonly block: ReadBlock }>();
  #again: number[] = [];
  #nextIndex = 0;
  #hasEnded = false;
  /** Settles when the lane that reads is done: one at a time, in order. */
  #turn: Promise<unknown> = Promise.resolve();
  #changed = Promise.withResolvers<void>();

  constructor(options: StreamSupplyOptions) {
    assert(options.slabs.slabCount >= 2);
    this.#options = options;
    this.describer = new BlockDescriber(options.geometry, options.digest);
  }

  get isEmpty(): boolean {
    return this.#hasEnded && this.#again.length === 0;
  }

  async next({ flush, signal }: NextOptions): Promise<SuppliedBlock | undefined> {
    // A lane has returned: what it sent is written.
    this.#noteChange();
    const again = this.#takeAgain();
    if (again !== undefined) return again;
    const turn = this.#turn.then(async () => await this.#read(flush, signal));
    this.#turn = turn.catch(() => {});
    const filled = await turn;
    if (filled === undefined || !('slab' in filled)) return filled;
    const bytes = filled.slab.bytes.subarray(0, filled.lengthBytes);
    const block = await this.describer.describe(filled.index, bytes);
    this.#kept.set(filled.index, { slab: filled.slab, block });
    return supplied(block, true);
  }

  putBack(index: number, _digest: Buffer | undefined): void {
    this.#again.push(index);
    this.#noteChange();
  }

  sendAgain(ranges: readonly Range[]): void {
    throw spent(ranges);
  }

  release(ranges: readonly Range[]): void {
    for (const [first, count] of ranges) {
      for (let index = first; index < first + count; index++) {
        this.#kept.get(index)?.slab[Symbol.dispose]();
        this.#kept.delete(index);
      }
    }
    this.#noteChange();
  }

  async check({ index, bytes, digest }: ReadBlock): Promise<void> {
    if ((await this.describer.digestOf(bytes)).equals(digest)) return;
    throw new TransferError(
      'source-changed',
      `block ${index} of ${this.#path} changed in the memory of this machine`,
      { hint: 'its memory may be faulty: run the same pipe again, preferably on another machine' },
    );
  }

  get #path(): string {
    return this.#options.stream.description.path;
  }

  #noteChange(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #takeAgain(): SuppliedBlock | undefined {
    const index = this.#again.shift();
    if (index === undefined) return undefined;
    const kept = this.#kept.get(index)?.block;
    return supplied(kept ?? this.describer.zeros(index, NO_BYTES), false);
  }

  /** In turn: a block that was put back meanwhile, or a slab with the next one; undefined at the end. */
  async #read(
    flush: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<FilledSlab | SuppliedBlock | undefined> {
    while (this.#options.slabs.freeCount === 0 && this.#again.length === 0 && !this.#hasEnded) {
      const changed = this.#changed.promise;
      await flush();
      if (this.#options.slabs.freeCount > 0 || this.#again.length > 0) break;
      // Other lanes hold all of it.
      await abortable(changed, signal);
    }
    const again = this.#takeAgain();
    if (again !== undefined || this.#hasEnded) return again;
    using stack = new DisposableStack();
    const slab = stack.use(await this.#options.slabs.take(signal));
    const lengthBytes = await this.#fill(slab.bytes, signal);
    if (lengthBytes === 0) return undefined;
    stack.move();
    return { index: this.#nextIndex++, slab, lengthBytes };
  }

  async #fill(into: Buffer, signal: AbortSignal): Promise<number> {
    const { stream, geometry, onEnd, tooLong, clock } = this.#options;
    const { blockSizeBytes } = geometry;
    const offset = this.#nextIndex * blockSizeBytes;
    const wanted = Math.min(blockSizeBytes, geometry.sizeBytes - offset);
    const lengthBytes = wanted === 0 ? 0 : await stream.fill(into.subarray(0, wanted), signal);
    if (lengthBytes === blockSizeBytes) return lengthBytes;
    if (lengthBytes === wanted && !(await stream.isAtEnd(signal))) throw tooLong();
    await clock.sleep(END_GRACE_MS, signal);
    await onEnd(offset + lengthBytes, signal);
    this.#hasEnded = true;
    return lengthBytes;
  }
}

/** A durable block is not kept, and a pipe cannot be read again. */
function spent(ranges: readonly Range[]): TransferError {
  const count = countOf(ranges);
  const blocks = count === 1 ? 'block' : `${count} blocks:`;
  return new TransferError(
    'source-spent',
    `the receiver lost ${blocks} ${formatRanges(ranges)}, and a pipe can't be read again`,
    {
      hint: `run the same pipe again to resume: ${count} ${count === 1 ? 'block is' : 'blocks are'} missing`,
    },
  );
}

/** Its slab is kept until it is released. */
function supplied(block: ReadBlock, isFirst: boolean): SuppliedBlock {
  return { block, isFirst, [Symbol.dispose]: () => {} };
}
