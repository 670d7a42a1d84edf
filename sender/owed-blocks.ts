/**
 * Blocks that the receiver has written but not yet made durable. A block is owed until a reply of the same epoch
 * carries a durable generation at or past the block's own; when the epoch is over it has to be sent again. Holds no
 * data: the blocks are read again from the source.
 */
import { countOf, type Range } from '../common/ranges.ts';
import type { ReplyInfo } from './receiver-port.ts';

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
  /** In the order in which they were first seen; replies of an older one may still be under way. */
  readonly #epochs: string[] = [];

  get blockCount(): number {
    return this.#owed.reduce((sum, { ranges }) => sum + countOf(ranges), 0);
  }

  /** @returns whether it is owed; false when its epoch is over already, so that it is lost. */
  add(blocks: OwedBlocks): boolean {
    if (!this.#epochs.includes(blocks.epoch)) this.#epochs.push(blocks.epoch);
    if (blocks.epoch !== this.#epochs.at(-1)) return false;
    this.#owed.push(blocks);
    return true;
  }

  /** Gives up all that is owed: to be sent again. */
  takeAll(): OwedBlocks[] {
    const all = this.#owed;
    this.#owed = [];
    return all;
  }

  /** Takes what any reply says. */
  settle({ epoch, durableGeneration }: ReplyInfo): Settled {
    if (!this.#epochs.includes(epoch)) this.#epochs.push(epoch);
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
}
