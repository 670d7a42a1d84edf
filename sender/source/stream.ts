/** The port to a source that is read once, in order, and may end anywhere: a pipe. */
import type { SourceDescription } from '../../common/protocol/protocol.ts';

export interface Stream extends AsyncDisposable {
  /** Tells it from a {@link Source}. */
  readonly canReread: false;
  readonly description: SourceDescription;
  /** What it must have (`--source-size`); null: that is known when it ends. */
  readonly sizeBytes: number | null;
  /**
   * Fills `into` with what comes next, for as long as that takes.
   * @returns how many bytes came: fewer than asked for at the end, 0 behind it.
   * @throws TransferError `source-read`; the signal's reason, and then nothing more can be read.
   */
  fill(into: Buffer, signal: AbortSignal): Promise<number>;
  /** Waits for a byte, which stays where it is. @throws as {@link fill}. */
  isAtEnd(signal: AbortSignal): Promise<boolean>;
}
