/** What a run counts, and what it says at its end. */
import type { Area } from '../../common/areas.ts';

/** Counted in blocks; only `durable` and `verified` are progress. */
export interface BlockCounters {
  /** Of a source whose size is not known: the most that is possible. */
  total: number;
  read: number;
  durable: number;
  /** As the receiver last said. */
  verified: number;
  sent: number;
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
  /** As the receipt says: not only those that this run met. */
  readonly unreadable: readonly Area[];
}

export interface DryRunFacts {
  readonly blocksTotal: number;
  /** On the target and equal. */
  readonly blocksSkipped: number;
  readonly blocksToSend: number;
  /** Of those to send, the blocks of zeros, which do not travel; null where the source was not read. */
  readonly blocksZero: number | null;
  readonly bytesTotal: number;
}
