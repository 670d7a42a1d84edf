/** Warns of unreadable areas of the source: what is sent instead, and what the target keeps. */
import { AREAS_NAMED_MAX, AreaReport } from '../../common/area-report.ts';
import { countAreas, formatAreas } from '../../common/areas.ts';
import type { Clock } from '../../common/clock.ts';

export class UnreadableReport {
  /** Replaced by zeros. */
  readonly zeroed: AreaReport;
  /** The target has them from an earlier run. */
  readonly kept: AreaReport;

  constructor(clock: Clock, warn: (warning: string) => void) {
    const report = (what: string): AreaReport =>
      new AreaReport(clock, (areas) => {
        warn(`${countAreas(areas)} of the source (${formatAreas(areas, AREAS_NAMED_MAX)}) ${what}`);
      });
    this.zeroed = report('are unreadable: replaced by zeros');
    this.kept = report('are unreadable now: the target keeps what an earlier run read');
  }

  /** Call it every second. */
  reportIfDue(): void {
    this.zeroed.reportIfDue();
    this.kept.reportIfDue();
  }

  /** Call it at the end. */
  report(): void {
    this.zeroed.report();
    this.kept.report();
  }
}
