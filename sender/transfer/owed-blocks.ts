/**
 * Blocks that the receiver has written but not yet made durable. A block is owed until a reply of the same
 * epoch carries a durable generation at or past the block's own; when the epoch is over it has to be sent
 * again. Holds no data: the blocks are read again from the source.
 */
import { countOf, type Range } from '../../common/ranges.ts';
import type { ResponseInfo } from '../client/receiver-port.ts';

/**
 * How many replies of an epoch that is over can still be under way: one for each connection (cli.ts). More
 * than that prove that it is the other one that is over: a reply that was overtaken by those of the next
 * epoch looked new.
 */
const LATE_REPLIES_MAX = 64;

export interface OwedBlocks {
  readonly ranges: readonly Range[];
  readonly epoch: string;
  readonly generation: number;
  /** Of a single block; zeros need none. */
  readonly digest: Buffer | undefined;
}

/** What a reply settles: these are durable, those are lost. */
export interface Settled {
  readonly durable: readonly OwedBlocks[];
  readonly lost: readonly OwedBlocks[];
}

export class OwedLedger {
  #owed: OwedBlocks[] = [];
  /** The current one is the last; replies of an older one may still be under way. */
  #epochs: string[] = [];
  /** In a row, without any of the current epoch between them. */
  #lateReplies = 0;

  get blockCount(): number {
    return this.#owed.reduce((sum, { ranges }) => sum + countOf(ranges), 0);
  }

  /**
   * To be called after {@link settle} with the reply that brought the receipt, whose epoch may have ended
   * before that reply was made.
   * @returns whether it is owed; false when its epoch is over already, so that it is lost.
   */
  add(blocks: OwedBlocks): boolean {
    if (this.#epochs.length === 0) this.#noteEpoch(blocks.epoch);
    if (blocks.epoch !== this.#epochs.at(-1)) return false;
    this.#owed.push(blocks);
    return true;
  }

  /** What is owed now. */
  all(): ReadonlySet<OwedBlocks> {
    return new Set(this.#owed);
  }

  /** Gives up what of these is owed still: to be sent again. */
  take(blocks: ReadonlySet<OwedBlocks>): OwedBlocks[] {
    const taken = this.#owed.filter((owed) => blocks.has(owed));
    this.#owed = this.#owed.filter((owed) => !blocks.has(owed));
    return taken;
  }

  /** Takes what any reply says. */
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
    const isLate = this.#epochs.includes(epoch) && epoch !== this.#epochs.at(-1);
    if (isLate && ++this.#lateReplies <= LATE_REPLIES_MAX) return;
    this.#lateReplies = 0;
    this.#epochs = [...this.#epochs.filter((known) => known !== epoch), epoch];
  }
}
