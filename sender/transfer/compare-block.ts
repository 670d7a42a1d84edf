/**
 * Compares a block that was read with what the target has, including the areas that an earlier run could not
 * read. Bytes that were read are never replaced by zeros.
 */
import { SECTOR_BYTES, areasOutside, isSameAreas, joinAreas, type Area } from '../../common/areas.ts';
import { TransferError } from '../../common/errors.ts';
import { lengthOf, blockIndexOf, offsetOf, type Geometry } from '../../common/geometry.ts';
import { isZero } from '../../common/io/zeros.ts';
import type { Range } from '../../common/ranges.ts';
import type { FlaggedBlocks } from './flagged-blocks.ts';
import type { Listing } from './listing.ts';
import type { BlockDescriber, ReadBlock } from '../source/read-block.ts';
import type { ReadMap } from '../bad-sectors/read-map.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { RecordedAreas } from './recorded-areas.ts';
import type { SendReporter } from './reporter-port.ts';

export interface ComparisonParts {
  /** What has been read of the source, and in which run; undefined for a pipe. */
  readonly map: ReadMap | undefined;
  readonly geometry: Geometry;
  readonly describer: BlockDescriber;
  readonly listing: Listing;
  readonly recorded: RecordedAreas;
  /** Blocks that the target had at the claim. */
  readonly recordedCount: number;
  /** Zeros on the target may be in the place of what an earlier run has left out. */
  readonly hasLeftOut: boolean;
  /** undefined: what differs is sent. */
  readonly sealed?: FlaggedBlocks | undefined;
  readonly reporter: SendReporter;
  /** Tries until it succeeds or fails for good. */
  readonly retrying: <Result>(attempt: () => Promise<Result>) => Promise<Result>;
  readonly signal: AbortSignal;
}

/** As many tell whether it is another disk. */
const RECORDED_SAMPLE = 64;

export class BlockComparison {
  readonly #parts: ComparisonParts;
  /** Blocks that the target had recorded, and those of them that are not the source's. */
  #comparedCount = 0;
  #differentCount = 0;

  constructor(parts: ComparisonParts) {
    this.#parts = parts;
  }

  /**
   * @returns its digest if it need not be read: according to the mapfile an earlier run has read all of it,
   * and the target has it without unreadable areas.
   */
  async readBefore(index: number): Promise<Buffer | undefined> {
    const { map, geometry, listing, recorded } = this.#parts;
    const block = blockIndexOf(index, geometry);
    const isRead = map?.isRead(offsetOf(block, geometry), lengthOf(block, geometry)) === true;
    return isRead && !recorded.has(index) ? await listing.digestAt(index) : undefined;
  }

  /**
   * @param block in a slab, which may be changed. @param lane for requests about this block.
   * @returns the block as it should be on the target, and whether the target has it like that.
   */
  async compare(block: ReadBlock, lane: ReceiverClient): Promise<{ block: ReadBlock; isThere: boolean }> {
    const { listing, recorded, reporter } = this.#parts;
    const { index } = block;
    const present = await listing.digestAt(index);
    if (present === undefined) {
      reporter.noteUnreadable(block.unreadable);
      return { block, isThere: false };
    }
    const before = await recorded.of(index, async () => await this.#head(index, lane));
    const lost = areasOutside(block.unreadable, before);
    const kept = lost.length === 0 ? block : await this.#keep(block, lost, { present, lane });
    const isEqual = kept.digest.equals(present);
    if (block.unreadable.length === 0) this.#noteRecorded(isEqual);
    const isThere = isEqual && isSameAreas(kept.unreadable, before);
    return { block: kept, isThere };
  }

  /** A disk that was written since has some that differ, another disk has hardly any other. */
  #noteRecorded(isEqual: boolean): void {
    const { reporter, recordedCount, sealed } = this.#parts;
    this.#comparedCount++;
    if (!isEqual) this.#differentCount++;
    if (sealed !== undefined || this.#comparedCount !== Math.min(RECORDED_SAMPLE, recordedCount)) return;
    if (this.#differentCount * 2 <= this.#comparedCount) return;
    reporter.noteOtherSource(this.#differentCount, this.#comparedCount);
  }

  /** The target has these blocks now. */
  noteDurable(ranges: readonly Range[]): void {
    const { map, geometry } = this.#parts;
    if (map === undefined) return;
    for (const [first, count] of ranges) {
      const offset = first * geometry.blockSizeBytes;
      const end = Math.min(geometry.sizeBytes, offset + count * geometry.blockSizeBytes);
      map.noteDurable(offset, end - offset);
    }
  }

  /** Takes the bytes of sectors that have gone bad since an earlier run from the target. */
  async #keep(
    block: ReadBlock,
    unread: readonly Area[],
    { present, lane }: { present: Buffer; lane: ReceiverClient },
  ): Promise<ReadBlock> {
    const { map, geometry, describer, reporter } = this.#parts;
    const { index, bytes } = block;
    const copy = await this.#readThere(index, lane);
    if (copy.length !== bytes.length || !(await describer.digestOf(copy)).equals(present)) {
      reporter.noteUnreadable(unread);
      return block;
    }
    const start = offsetOf(blockIndexOf(index, geometry), geometry);
    const lost = this.#parts.hasLeftOut ? withoutZeros(unread, copy, start) : unread;
    if (lost !== unread) reporter.noteUnreadable(areasOutside(unread, lost));
    for (const [offset, length] of lost) {
      bytes.set(copy.subarray(offset - start, offset - start + length), offset - start);
      map?.noteRead(offset, length);
    }
    reporter.noteKept(lost);
    const left = areasOutside(block.unreadable, lost);
    return await describer.describe(index, bytes, left);
  }

  /** @returns no bytes if the target has lost the block since it was listed, as it read back wrong. */
  async #readThere(index: number, lane: ReceiverClient): Promise<Uint8Array<ArrayBuffer>> {
    const { retrying, signal } = this.#parts;
    try {
      return Uint8Array.from(await retrying(async () => await lane.readBlock(index, signal)));
    } catch (error) {
      if (error instanceof TransferError && error.code === 'block-absent') return new Uint8Array();
      throw error;
    }
  }

  async #head(index: number, lane: ReceiverClient): ReturnType<ReceiverClient['headBlock']> {
    const { retrying, signal } = this.#parts;
    return await retrying(async () => await lane.headBlock(index, signal));
  }
}

/** The sectors of these areas that are not zeros in a block that starts at `start`: they were read. */
function withoutZeros(areas: readonly Area[], block: Uint8Array<ArrayBuffer>, start: number): Area[] {
  const sectors = areas.flatMap(([offset, length]) => {
    const count = Math.ceil(length / SECTOR_BYTES);
    return Array.from({ length: count }, (_, nth): Area => {
      const at = offset + nth * SECTOR_BYTES;
      return [at, Math.min(SECTOR_BYTES, offset + length - at)];
    });
  });
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.length);
  return joinAreas(
    sectors.filter(([at, length]) => !isZero(bytes.subarray(at - start, at - start + length))),
  );
}
