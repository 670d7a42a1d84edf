/** Reports an outage when it begins, once a minute while it lasts, and when it is over. */
import type { Clock } from '../../common/clock.ts';
import type { TransferError } from '../../common/errors.ts';
import { formatDuration } from '../../common/units.ts';
import type { Observed } from '../transfer/reporter-port.ts';
import { Outage, isOfRoom, isOfTarget, textOf, type Waiting } from './outage.ts';

const INTERVAL_MS = 60_000;
/** A disk may take this long to flush. */
const STANDSTILL_WARNING_MS = 20_000;

export interface OutageReportOptions {
  readonly clock: Clock;
  readonly warn: (warning: string) => void;
  readonly fact: (text: string) => void;
  /** Whether a live area shows the outage and its length. */
  readonly isShown: () => boolean;
}

export class OutageReport {
  readonly #options: OutageReportOptions;
  readonly #outage = new Outage();
  #lastWarningMs = -Infinity;
  #arrivedBefore = 0;
  #isFull = false;
  #isFullSaid = false;
  #lastFullMs = -Infinity;

  constructor(options: OutageReportOptions) {
    this.#options = options;
  }

  /** @param connections open ones. @returns undefined while nothing is wrong. */
  waiting(connections: number): Waiting | undefined {
    return this.#outage.waiting(this.#nowMs, connections);
  }

  /** The receiver has answered: what was wrong before is over. */
  begin(): void {
    this.#outage.end(this.#nowMs);
  }

  /** A failure that is retried. */
  noteRetry(error: TransferError, giveUpInMs: number): void {
    const now = this.#nowMs;
    this.#outage.noteFailure(error, now, giveUpInMs);
    if (isOfRoom(error)) {
      this.#noteFull(error);
      return;
    }
    const lengthMs = this.#outage.lengthMs(now) ?? 0;
    const isShown = this.#options.isShown() && lengthMs >= INTERVAL_MS;
    const since = lengthMs < 1000 ? '' : ` (for ${formatDuration(lengthMs)} now)`;
    const where = isOfTarget(error) ? 'the target fails: ' : '';
    this.#warn(isShown ? undefined : `${where}${error.message}; retrying${since}`);
  }

  /** The target has room again, until the next {@link noteRetry} that says otherwise. */
  noteRoom(): void {
    if (!this.#isFull) return;
    const lengthMs = this.#outage.lengthMs(this.#nowMs) ?? 0;
    if (this.#isFullSaid) {
      this.#options.fact(`note     there is room at the receiver again, after ${formatDuration(lengthMs)}`);
    }
    this.#isFull = this.#isFullSaid = false;
    this.#outage.end(this.#nowMs);
  }

  /** Call it every second. @returns as {@link waiting} does. */
  follow(observed: Observed): Waiting | undefined {
    const stillMs = observed.standstillMs();
    const connections = observed.connections();
    this.#outage.noteStandstill(stillMs ?? 0, this.#nowMs);
    this.#endIfMoving(observed.counters, stillMs, connections);
    const waiting = this.waiting(connections);
    if (
      waiting?.code === 'standstill' &&
      waiting.forMs >= STANDSTILL_WARNING_MS &&
      !this.#options.isShown()
    ) {
      const { what, since } = textOf(waiting);
      this.#warn(what + since);
    }
    return waiting;
  }

  get #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }

  /** Said once, however long it lasts, and again when there was room meanwhile. */
  #noteFull({ message }: TransferError): void {
    this.#isFull = true;
    if (this.#isFullSaid || this.#nowMs - this.#lastFullMs < INTERVAL_MS) return;
    this.#isFullSaid = true;
    this.#lastFullMs = this.#nowMs;
    this.#options.warn(`there is no room at the receiver: ${message}; trying again until there is`);
  }

  /** @param text undefined: the live area shows it, and it counts as said. */
  #warn(text: string | undefined): void {
    if (this.#nowMs - this.#lastWarningMs < INTERVAL_MS) return;
    this.#lastWarningMs = this.#nowMs;
    if (text !== undefined) this.#options.warn(text);
  }

  /** A block has arrived or was found present; an outage of the line is over when bytes move. */
  #endIfMoving(counters: Observed['counters'], stillMs: number | undefined, connections: number): void {
    const arrived = counters.durable + counters.verified + counters.read;
    const isMoving = arrived > this.#arrivedBefore || (stillMs === 0 && this.#outage.isOfLine);
    this.#arrivedBefore = arrived;
    // What was written before becomes durable, and is read back, also now.
    if (this.#isFull || !isMoving || connections === 0) return;
    const lengthMs = this.#outage.end(this.#nowMs);
    if (lengthMs !== undefined) this.#options.fact(`note     resumed after ${formatDuration(lengthMs)}`);
  }
}
