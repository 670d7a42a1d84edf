/** What happens to written blocks, for the rest of the receiver. */
import type { TransferError } from '../../common/errors.ts';

export interface DurabilityEvents {
  /** A flush or a write failed and the epoch changed. */
  onEpochEnd?(error: TransferError, lostBlocks: number): void;
  /** Blocks became durable. */
  onDurable?(): void;
  /** The journal can't be written, and not because the disk is full: the process must end. */
  onJournalBroken(error: TransferError): void;
}
