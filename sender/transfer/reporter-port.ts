/** The port through which a running transfer reports. */
import type { Area } from '../../common/areas.ts';
import type { TransferError } from '../../common/errors.ts';
import type { BlockCounters } from './counters.ts';

/** What the reporter reads when it is time for a line. */
export interface Observed {
  readonly counters: Readonly<BlockCounters>;
  /** null while it is not known. */
  readonly bytesTotal: number | null;
  readonly blockSizeBytes: number;
  /** Bytes of the source in blocks that have arrived in part, or are written and not durable yet. */
  readonly bytesUnderWay: () => number;
  readonly bytesWire: () => number;
  /** Bytes on the line that the other end has acknowledged, as of the last {@link look}. */
  readonly bytesAcknowledged: () => number;
  /** Brings `bytesUnderWay` and `bytesAcknowledged` up to date. */
  readonly look: () => Promise<void>;
  readonly connections: () => number;
  /** For how long nothing has moved although a request is open; undefined without one. */
  readonly standstillMs: () => number | undefined;
}

/** What the operation reports. */
export interface SendReporter {
  fact(text: string): void;
  start(observed: Observed): void;
  /** @param giveUpInMs time left without progress; Infinity if time does not decide. */
  noteRetry(error: TransferError, giveUpInMs?: number): void;
  /** A target that had no room has taken something again. */
  noteRoom(): void;
  /** Of the first blocks that the target had recorded, most are not those of this source. */
  noteOtherSource(differentCount: number, recordedCount: number): void;
  /** Blocks that the target had, and has no more: they are sent again. */
  noteLost(count: number): void;
  /** Unreadable areas of the source that become zeros on the target. */
  noteUnreadable(areas: readonly Area[]): void;
  /** Areas that have become unreadable, and whose bytes the target has from an earlier run. */
  noteKept(areas: readonly Area[]): void;
}
