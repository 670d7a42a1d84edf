/** Tells of areas of the source that can't be read: what is sent instead, and what the target keeps. */
import { AREAS_NAMED_MAX, AreaReport } from '../../common/area-report.ts';
import { countAreas, formatAreas } from '../../common/areas.ts';
import type { Clock } from '../../common/clock.ts';

export class DamageReport {
  readonly unreadable: AreaReport;
  readonly kept: AreaReport;

  constructor(clock: Clock, warn: (warning: string) => void) {
    const report = (what: string): AreaReport =>
      new AreaReport(clock, (areas) => {
        warn(`${countAreas(areas)} of the source (${formatAreas(areas, AREAS_NAMED_MAX)}) ${what}`);
      });
    this.unreadable = report('cannot be read: zeros are sent instead');
    this.kept = report('cannot be read any more: the target has them from an earlier run, and keeps them');
  }

  /** To be called now and then. */
  tellIfDue(): void {
    this.unreadable.reportIfDue();
    this.kept.reportIfDue();
  }

  /** Whatever was not told yet. */
  tell(): void {
    this.unreadable.report();
    this.kept.report();
  }
}
