/** The port to a source that is read once, in order, and may end anywhere: a pipe. */
import type { SourceDescription } from '../../common/protocol/protocol.ts';

export interface Stream extends AsyncDisposable {
  /** Tells it from a {@link Source}. */
  readonly canReread: false;
  readonly description: SourceDescription;
  /** The size that it must have (`--source-size`); null if it becomes known at its end. */
  readonly sizeBytes: number | null;
  /**
   * Fills `into` with the next bytes, however long that takes.
   * @returns the number of bytes: fewer at the end, 0 past it.
   * @throws TransferError `source-read`; the signal's reason, after which nothing more can be read.
   */
  fill(into: Buffer, signal: AbortSignal): Promise<number>;
  /** Waits for a byte without consuming it. @throws as {@link fill}. */
  isAtEnd(signal: AbortSignal): Promise<boolean>;
}
