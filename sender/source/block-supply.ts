/** The port through which a transmission gets its blocks: from a disk, or from a pipe. */
import type { Range } from '../../common/ranges.ts';
import type { BlockDescriber, ReadBlock } from './read-block.ts';

/** A block to compare or send; its lane disposes it when it is done. */
export interface SuppliedBlock extends Disposable {
  readonly block: ReadBlock;
  /** Read for the first time in this run. */
  readonly isFirst: boolean;
}

/** A block that need not be read: the target has it as an earlier run has read it. */
export interface KnownBlock extends Disposable {
  readonly known: { readonly index: number; readonly digest: Buffer };
}

export interface NextOptions {
  /** Makes durable what the receiver has written, and settles which blocks that are. */
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
   * @returns undefined if there is nothing to do now.
   * @throws TransferError `source-read`, `source-changed`, …; the signal's reason.
   */
  next(options: NextOptions): Promise<SuppliedBlock | KnownBlock | undefined>;
  /** To be supplied again, before anything new. @param digest of the block as it was read, if known. */
  putBack(index: number, digest: Buffer | undefined): void;
  /** To be supplied again although they were durable. @throws TransferError `source-spent` of a pipe. */
  sendAgain(ranges: readonly Range[]): void;
  /** They are durable, or need not be kept for another reason. */
  release(ranges: readonly Range[]): void;
  /**
   * The receiver got other bytes than it should have: checks whether the block has changed in memory.
   * @throws TransferError `source-changed`, `source-read`.
   */
  check(block: ReadBlock, signal: AbortSignal): Promise<void>;
}
