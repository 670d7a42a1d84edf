/**
 * Blocks that the receiver has written but not yet made durable. A block is owed until a response of the same
 * epoch reports a durable generation at or past the block's own; when the epoch is over it has to be sent
 * again. Holds no data: the blocks are read again from the source.
 */
import { countOf, type Range } from '../../common/ranges.ts';
import type { ResponseInfo } from '../client/receiver-port.ts';

/**
 * So many responses of an epoch that is over can still arrive: one for each connection. More of them prove
 * that it is the other epoch that is over: a response overtaken by those of the next epoch looked new.
 */
const STALE_RESPONSES_MAX = 64;

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
  /** In a row, without any of the current epoch in between. */
  #staleResponses = 0;

  get blockCount(): number {
    return this.#owed.reduce((sum, { ranges }) => sum + countOf(ranges), 0);
  }

  /**
   * To be called after {@link settle} with the response that brought the result, whose epoch may have ended
   * before that response was made.
   * @returns whether it is owed; false if its epoch is over already, so that it is lost.
   */
  add(blocks: OwedBlocks): boolean {
    if (this.#epochs.length === 0) this.#noteEpoch(blocks.epoch);
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

  /** To be called with every response. */
  settle({ epoch, durableGeneration }: Omit<ResponseInfo, 'verifiedCount'>): Settled {
    this.#noteEpoch(epoch);
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

  #noteEpoch(epoch: string): void {
    const isStale = this.#epochs.includes(epoch) && epoch !== this.#epochs.at(-1);
    if (isStale && ++this.#staleResponses <= STALE_RESPONSES_MAX) return;
    this.#staleResponses = 0;
    this.#epochs = [...this.#epochs.filter((known) => known !== epoch), epoch];
  }
}
