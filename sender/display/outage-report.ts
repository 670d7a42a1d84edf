/** Tells of outages: when one begins, once a minute how long it lasts, and when it is over. */
import type { Clock } from '../../common/clock.ts';
import type { TransferError } from '../../common/errors.ts';
import { formatDuration } from '../../common/units.ts';
import type { Observed } from '../transfer/reporter-port.ts';
import { Trouble, isOfTarget, textOf, type Waiting } from './outage.ts';

const INTERVAL_MS = 60_000;
/** A disk may need so long to flush. */
const STANDSTILL_TOLD_MS = 20_000;

export interface OutageReportOptions {
  readonly clock: Clock;
  readonly warn: (warning: string) => void;
  readonly fact: (text: string) => void;
  /** Whether a live area shows what is waited for, and since when. */
  readonly isShown: () => boolean;
}

export class OutageReport {
  readonly #options: OutageReportOptions;
  readonly #trouble = new Trouble();
  #lastWarningMs = -Infinity;
  #arrivedBefore = 0;

  constructor(options: OutageReportOptions) {
    this.#options = options;
  }

  /** @param connections open ones. @returns undefined while nothing is wrong. */
  waiting(connections: number): Waiting | undefined {
    return this.#trouble.waiting(this.#nowMs, connections);
  }

  /** Whatever was wrong before, the receiver has answered. */
  begin(): void {
    this.#trouble.end(this.#nowMs);
  }

  /** A failure that is being tried again. */
  noteRetry(error: TransferError, giveUpInMs: number): void {
    const now = this.#nowMs;
    this.#trouble.note(error, now, giveUpInMs);
    const sinceMs = this.#trouble.lengthMs(now) ?? 0;
    const isShown = this.#options.isShown() && sinceMs >= INTERVAL_MS;
    const since = sinceMs < 1000 ? '' : ` (for ${formatDuration(sinceMs)} now)`;
    const where = isOfTarget(error) ? 'the target fails: ' : '';
    this.#warn(isShown ? undefined : `${where}${error.message}; trying again${since}`);
  }

  /** To be called every second. @returns as {@link waiting} does. */
  follow(observed: Observed): Waiting | undefined {
    const stillMs = observed.standstillMs();
    const connections = observed.connections();
    this.#trouble.noteStandstill(stillMs ?? 0, this.#nowMs);
    this.#endIfMoving(observed.counters, stillMs, connections);
    const waiting = this.waiting(connections);
    if (waiting?.code === 'standstill' && waiting.forMs >= STANDSTILL_TOLD_MS && !this.#options.isShown()) {
      const { what, since } = textOf(waiting);
      this.#warn(what + since);
    }
    return waiting;
  }

  get #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }

  /** @param text undefined where it is told otherwise. */
  #warn(text: string | undefined): void {
    if (this.#nowMs - this.#lastWarningMs < INTERVAL_MS) return;
    this.#lastWarningMs = this.#nowMs;
    if (text !== undefined) this.#options.warn(text);
  }

  /** Something has arrived, or was found to be there; an outage of the line is over when bytes move. */
  #endIfMoving(counters: Observed['counters'], stillMs: number | undefined, connections: number): void {
    const arrived = counters.durable + counters.verified + counters.read;
    const hasArrived = arrived > this.#arrivedBefore || (stillMs === 0 && this.#trouble.isOfLine);
    this.#arrivedBefore = arrived;
    if (!hasArrived || connections === 0) return;
    const lengthMs = this.#trouble.end(this.#nowMs);
    if (lengthMs !== undefined) this.#options.fact(`note     going on after ${formatDuration(lengthMs)}`);
  }
}
