/** Notes what happens to each block of a transmission, a byte each, and more of the last few thousand. */
import type { Clock } from '../../common/clock.ts';
import { blockCountOf } from '../../common/geometry.ts';
import type { Range } from '../../common/ranges.ts';
import { BlockMarks } from '../../common/watch/block-marks.ts';
import type { BlockKind } from '../../common/watch/block-kinds.ts';
import type { WatchBlock } from '../../common/watch/watch-status.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { BlockNotes, WatchedTransmission } from '../transfer/block-notes.ts';

/** A hundred bytes each. */
const DETAILS_MAX = 4096;

interface Detail {
  digest: string | undefined;
  lane: number | undefined;
  atMs: number;
}

export class MarkedBlocks implements BlockNotes {
  readonly #clock: Clock;
  readonly #onBegin: () => void;
  #watched: WatchedTransmission | undefined;
  #marks: BlockMarks | undefined;
  /** What blocks become when they are durable, where that is not `durable` or `zero`. */
  readonly #later = new Map<number, BlockKind>();
  /** The oldest first. */
  readonly #details = new Map<number, Detail>();
  readonly #lanes = new Map<ReceiverClient, number>();
  /** Of each lane: the block that it sends. */
  readonly #sending = new Map<number, number>();

  constructor(clock: Clock, onBegin: () => void) {
    this.#clock = clock;
    this.#onBegin = onBegin;
  }

  get watched(): WatchedTransmission | undefined {
    return this.#watched;
  }

  get marks(): BlockMarks | undefined {
    return this.#marks;
  }

  begin(watched: WatchedTransmission): void {
    this.#watched = watched;
    this.#marks = new BlockMarks(watched.isSizeKnown ? blockCountOf(watched.geometry) : 0);
    for (const map of [this.#later, this.#details, this.#lanes, this.#sending]) map.clear();
    this.#onBegin();
  }

  read(block: ReadBlock): void {
    const { index, digest, unreadable } = block;
    if (unreadable.length > 0) this.#later.set(index, 'unreadable');
    else this.#later.delete(index);
    this.#marks?.set(index, 'read');
    const detail = this.#touch(index);
    detail.digest = `${block.algorithm} ${digest.toString('hex')}`;
  }

  present(index: number, digest: Buffer): void {
    this.#marks?.set(index, this.#later.get(index) ?? 'present');
    this.#later.delete(index);
    const detail = this.#touch(index);
    detail.digest ??= digest.toString('hex');
  }

  sending({ index }: ReadBlock, client: ReceiverClient): void {
    const lane = this.#laneOf(client);
    this.#sending.set(lane, index);
    this.#marks?.sending(index);
    this.#touch(index).lane = lane;
  }

  copied(index: number): void {
    this.#later.set(index, 'copied');
  }

  written(ranges: readonly Range[]): void {
    this.#marks?.setAll(ranges, 'written');
    const [range] = ranges;
    if (ranges.length !== 1 || range?.[1] !== 1) return;
    const detail = this.#touch(range[0]);
    if (detail.lane !== undefined && this.#sending.get(detail.lane) === range[0])
      this.#sending.delete(detail.lane);
  }

  durable(ranges: readonly Range[], digest: Buffer | undefined): void {
    const usual = digest === undefined ? 'zero' : 'durable';
    for (const [first, count] of ranges) {
      for (let index = first; index < first + count; index++) {
        this.#marks?.set(index, this.#later.get(index) ?? usual);
        this.#later.delete(index);
      }
    }
  }

  lost(ranges: readonly Range[]): void {
    this.#marks?.setAll(ranges, 'lost');
  }

  different(index: number): void {
    this.#marks?.set(index, 'different');
  }

  /** All blocks were read back and are equal. */
  proven(): void {
    this.#marks?.replace('durable', 'verified');
  }

  /** The block that a lane sends. */
  sendingOf(client: ReceiverClient): number | undefined {
    return this.#sending.get(this.#laneOf(client));
  }

  block(index: number): WatchBlock | undefined {
    if (this.#marks === undefined || index >= this.#marks.blockCount) return undefined;
    const { digest = null, lane = null, atMs = null } = this.#details.get(index) ?? {};
    return { index, digest, lane, atMs };
  }

  #laneOf(client: ReceiverClient): number {
    let lane = this.#lanes.get(client);
    if (lane === undefined) {
      lane = this.#lanes.size + 1;
      this.#lanes.set(client, lane);
    }
    return lane;
  }

  #touch(index: number): Detail {
    const detail = this.#details.get(index) ?? { digest: undefined, lane: undefined, atMs: 0 };
    detail.atMs = this.#clock.wallMs();
    this.#details.delete(index);
    this.#details.set(index, detail);
    if (this.#details.size > DETAILS_MAX) {
      const [oldest] = this.#details.keys();
      if (oldest !== undefined) this.#details.delete(oldest);
    }
    return detail;
  }
}
