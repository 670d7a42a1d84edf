/** Names new unreadable areas to people: soon, once, and a thousand of them not in a thousand lines. */
import { joinAreas, type Area } from './areas.ts';
import type { Clock } from './clock.ts';

/** What comes in between is told in one line with what comes next. */
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
    this.tellIfDue();
  }

  /** To be called now and then. */
  tellIfDue(): void {
    if (this.#clock.monotonicMs() - this.#lastMs >= LINE_INTERVAL_MS) this.tell();
  }

  /** Whatever was not told yet. */
  tell(): void {
    const areas = this.#pending;
    if (areas.length === 0) return;
    this.#pending = [];
    this.#lastMs = this.#clock.monotonicMs();
    this.#say(areas);
  }
}
