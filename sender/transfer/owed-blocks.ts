/**
 * Blocks that the receiver has written but not yet made durable. A block is owed until a response of the same
 * epoch reports a durable generation at or past the block's own; when the epoch is over it has to be sent
 * again. Holds no data: the blocks are read again from the source.
 */
import { countOf, type Range } from '../../common/ranges.ts';
import type { ResponseInfo } from '../client/receiver-port.ts';

export interface OwedBlocks {
  readonly ranges: readonly Range[];
  readonly epoch: string;
  readonly generation: number;
  /** Of a single block; zeros need none. */
  readonly digest: Buffer | undefined;
}

/** What a response settles. */
export interface Settled {
  readonly durable: readonly OwedBlocks[];
  readonly lost: readonly OwedBlocks[];
}

export class OwedLedger {
  #owed: OwedBlocks[] = [];
  /** The last one is current; responses of older ones may still arrive. */
  #epochs: string[] = [];
  /** When the current one was seen first. */
  #sinceMs = -Infinity;

  get blockCount(): number {
    return this.#owed.reduce((sum, { ranges }) => sum + countOf(ranges), 0);
  }

  /**
   * To be called after {@link settle} with the response that brought the result, whose epoch may have ended
   * before that response was made.
   * @returns whether it is owed; false if its epoch is over already, so that it is lost.
   */
  add(blocks: OwedBlocks): boolean {
    if (this.#epochs.length === 0) this.#epochs.push(blocks.epoch);
    if (blocks.epoch !== this.#epochs.at(-1)) return false;
    this.#owed.push(blocks);
    return true;
  }

  /** Everything that is owed now. */
  all(): ReadonlySet<OwedBlocks> {
    return new Set(this.#owed);
  }

  /** Gives up those of these that are still owed, to be sent again. */
  take(blocks: ReadonlySet<OwedBlocks>): OwedBlocks[] {
    const taken = this.#owed.filter((owed) => blocks.has(owed));
    this.#owed = this.#owed.filter((owed) => !blocks.has(owed));
    return taken;
  }

  /** To be called with every response, as soon as it is there. @param nowMs by the clock of `requestedMs`. */
  settle(
    { epoch, durableGeneration, requestedMs }: Omit<ResponseInfo, 'verifiedCount'>,
    nowMs: number,
  ): Settled {
    this.#noteEpoch(epoch, requestedMs, nowMs);
    const current = this.#epochs.at(-1);
    const durable: OwedBlocks[] = [];
    const lost: OwedBlocks[] = [];
    const still: OwedBlocks[] = [];
    for (const blocks of this.#owed) {
      if (blocks.epoch === epoch && blocks.generation <= durableGeneration) durable.push(blocks);
      else if (blocks.epoch !== current) lost.push(blocks);
      else still.push(blocks);
    }
    this.#owed = still;
    return { durable, lost };
  }

  /**
   * A response that was overtaken by those of the next epoch may look new: it is then taken for current,
   * until one comes whose request was begun after that.
   */
  #noteEpoch(epoch: string, requestedMs: number, nowMs: number): void {
    if (epoch === this.#epochs.at(-1)) return;
    if (this.#epochs.includes(epoch) && requestedMs <= this.#sinceMs) return;
    this.#epochs = [...this.#epochs.filter((known) => known !== epoch), epoch];
    this.#sinceMs = nowMs;
  }
}
