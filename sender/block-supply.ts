/** The port through which a transmission gets its blocks: from a disk, or from a pipe. */
import type { ZeroDigests } from '../common/digest.ts';
import type { TransferError } from '../common/errors.ts';
import type { Range } from '../common/ranges.ts';
import type { ReadBlock } from './read-block.ts';

/** A block to be compared or sent; disposed when its lane is done with it. */
export interface SuppliedBlock extends Disposable {
  readonly block: ReadBlock;
  /** Read for the first time in this run. */
  readonly isFirst: boolean;
}

export interface BlockSupply {
  readonly zeroDigests: ZeroDigests;
  /** Nothing is left, unless something is put back. */
  readonly isEmpty: boolean;
  /**
   * The next block: those that were put back first, then the source in order.
   * @param flush makes durable what the receiver has written, and tells which blocks that settles.
   * @returns undefined when there is nothing to do now.
   * @throws TransferError `source-read`, `source-changed`, …; the signal's reason.
   */
  next(flush: () => Promise<void>, signal: AbortSignal): Promise<SuppliedBlock | undefined>;
  /** Once more, before anything new. @param digest as it was read, where that is known. */
  putBack(index: number, digest: Buffer | undefined): void;
  /** These, all durable before, are missing now. @throws TransferError `source-spent` of a pipe. */
  sendAgain(ranges: readonly Range[]): void;
  /** These are durable, or need not be kept for another reason. */
  release(ranges: readonly Range[]): void;
  /**
   * The receiver got other bytes than were meant: looks whether they are in memory as they were read.
   * @throws TransferError `source-changed`, `source-read`.
   */
  check(block: ReadBlock): Promise<void>;
  /** For a block that is not what a sealed transfer holds. */
  differsFromSealed(index: number): TransferError;
}
