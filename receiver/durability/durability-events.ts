/** What happens to written blocks that others have to know. */
import type { TransferError } from '../../common/errors.ts';

export interface DurabilityEvents {
  /** A flush or a write failed and the epoch changed. */
  onEpochEnd?(error: TransferError, lostBlocks: number): void;
  /** Blocks became durable. */
  onDurable?(): void;
  /** The journal can't be written for another reason than a full disk: the process must not go on. */
  onJournalBroken(error: TransferError): void;
}
