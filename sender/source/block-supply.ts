/** The port through which a transmission gets its blocks: from a disk, or from a pipe. */
import type { TransferError } from '../../common/errors.ts';
import type { Range } from '../../common/ranges.ts';
import type { BlockDescriber, ReadBlock } from './read-block.ts';

/** A block to be compared or sent; disposed when its lane is done with it. */
export interface SuppliedBlock extends Disposable {
  readonly block: ReadBlock;
  /** Read for the first time in this run. */
  readonly isFirst: boolean;
}

/** A block that need not be read: it is on the target, as an earlier run has read it. */
export interface KnownBlock extends Disposable {
  readonly known: { readonly index: number; readonly digest: Buffer };
}

export interface NextOptions {
  /** Makes durable what the receiver has written, and tells which blocks that settles. */
  readonly flush: () => Promise<void>;
  /** The digest of a block that need not be read. */
  readonly readBefore: (index: number) => Promise<Buffer | undefined>;
  readonly signal: AbortSignal;
}

export interface BlockSupply {
  readonly describer: BlockDescriber;
  /** Nothing is left, unless something is put back. */
  readonly isEmpty: boolean;
  /**
   * The next block: those that were put back first, then the source in order.
   * @returns undefined when there is nothing to do now.
   * @throws TransferError `source-read`, `source-changed`, …; the signal's reason.
   */
  next(options: NextOptions): Promise<SuppliedBlock | KnownBlock | undefined>;
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
  check(block: ReadBlock, signal: AbortSignal): Promise<void>;
  /** For a block that is not what a sealed transfer holds. */
  differsFromSealed(index: number): TransferError;
}
