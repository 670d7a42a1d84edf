/** The port through which the reporter shows the same to those who watch a page (`--web`). */
import type { Area } from '../../common/areas.ts';
import type { TransferError } from '../../common/errors.ts';
import type { WatchLevel } from '../../common/watch/watch-status.ts';
import type { Comparison } from '../transfer/comparison.ts';
import type { DoneFacts } from '../transfer/counters.ts';
import type { Waiting } from './outage.ts';
import type { Snapshot } from './progress-columns.ts';
import type { DiskFacts } from './reporter.ts';

/** How the copy of a disk, or all of the run, has ended. */
export type RunEnd =
  | { readonly kind: 'done' | 'kept-open'; readonly facts: DoneFacts; readonly targetPath: string }
  | { readonly kind: 'compared'; readonly comparison: Comparison; readonly targetPath: string }
  | {
      readonly kind: 'failed';
      readonly error: Pick<TransferError, 'message' | 'hint'>;
    };

export interface ReporterWatch {
  message(level: WatchLevel, text: string): void;
  /** What follows is about this one of several. */
  disk(facts: DiskFacts): void;
  /** Once a second while something is sent. */
  tick(snapshot: Snapshot, waiting: Waiting | undefined): void;
  /** Something fails before anything is sent. */
  waiting(waiting: Waiting | undefined): void;
  /** As `--progress json` writes it, whatever the format. */
  event(event: Readonly<Record<string, unknown>>): void;
  /** So many blocks that the target had are not there any more. */
  lost(count: number): void;
  /** They become zeros on the target. */
  unreadable(areas: readonly Area[]): void;
  ended(end: RunEnd): void;
}
