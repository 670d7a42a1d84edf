/** Reports new unreadable areas: soon, once, and a thousand of them in a few lines. */
import { joinAreas, type Area } from './areas.ts';
import type { Clock } from './clock.ts';

/** Areas found in between are reported in the next line. */
const LINE_INTERVAL_MS = 5000;
/** Areas that one line names. */
export const AREAS_NAMED_MAX = 8;

export class AreaReport {
  readonly #clock: Clock;
  readonly #say: (areas: readonly Area[]) => void;
  #pending: readonly Area[] = [];
  #lastMs = -Infinity;

  /** @param say writes one line about these areas, which are joined. */
  constructor(clock: Clock, say: (areas: readonly Area[]) => void) {
    this.#clock = clock;
    this.#say = say;
  }

  add(areas: readonly Area[]): void {
    if (areas.length === 0) return;
    this.#pending = joinAreas([...this.#pending, ...areas]);
    this.reportIfDue();
  }

  /** To be called regularly. */
  reportIfDue(): void {
    if (this.#clock.monotonicMs() - this.#lastMs >= LINE_INTERVAL_MS) this.report();
  }

  /** Reports the rest. */
  report(): void {
    const areas = this.#pending;
    if (areas.length === 0) return;
    this.#pending = [];
    this.#lastMs = this.#clock.monotonicMs();
    this.#say(areas);
  }
}
