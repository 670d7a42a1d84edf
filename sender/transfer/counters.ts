/** What a run counts, and its final figures. */
import type { Area } from '../../common/areas.ts';
import type { LeftOut } from '../../common/protocol/protocol.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';

/** In blocks; only `durable` and `verified` are progress. */
export interface BlockCounters {
  /** The maximum while the size of the source is not known. */
  total: number;
  read: number;
  durable: number;
  /** As last reported by the receiver. */
  verified: number;
  sent: number;
  /** Copied on the target from another block. */
  copied: number;
  skipped: number;
  zero: number;
  resent: number;
}

export interface DoneFacts {
  readonly counters: Readonly<BlockCounters>;
  readonly bytesTotal: number;
  readonly bytesWire: number;
  readonly seconds: number;
  readonly root: string;
  readonly verified: 'read-back' | 'none';
  /** As the receipt says. */
  readonly readBack: ReadBackMethod | null;
  /** When it was read back, as the receiver's clock says; null if it was not. */
  readonly verifiedAt: string | null;
  /** Those in the receipt, not only those that this run found. */
  readonly unreadable: readonly Area[];
  /** What the receipt says; of a pass without one, what this run has left out. */
  readonly leftOut: LeftOut | null;
}

export interface DryRunFacts {
  readonly blocksTotal: number;
  /** On the target and equal. */
  readonly blocksSkipped: number;
  readonly blocksToSend: number;
  /** Blocks of zeros among those to send, which do not travel; null if the source was not read. */
  readonly blocksZero: number | null;
  readonly bytesTotal: number;
  /** They can only be sent after `ddt-receive --update`. */
  readonly isSealed: boolean;
}
