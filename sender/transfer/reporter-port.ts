/** What the use case tells a reporter, and lets it look at. */
import type { Area } from '../../common/areas.ts';
import type { TransferError } from '../../common/errors.ts';
import type { BlockCounters } from './counters.ts';

/** What the reporter looks at when it is time for a line. */
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
  /** For how long nothing has moved although something is under way; undefined: nothing is. */
  readonly standstillMs: () => number | undefined;
}

/** What the use case tells while it runs. */
export interface SendReporter {
  fact(text: string): void;
  start(observed: Observed): void;
  /** @param giveUpInMs when that ends without progress; Infinity where not time decides. */
  noteRetry(error: TransferError, giveUpInMs?: number): void;
  /** Areas of the source that cannot be read, and that the target has nothing better for: zeros. */
  noteUnreadable(areas: readonly Area[]): void;
  /** Areas that cannot be read any more, and that the target has from an earlier run. */
  noteKept(areas: readonly Area[]): void;
}
