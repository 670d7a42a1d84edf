/** Warnings whose causes come again and again: strangers, retries, a full disk. They must not fill a log. */
import type { Clock } from '../../common/clock.ts';
import { formatDuration } from '../../common/units.ts';
import { AddressTally } from './address-tally.ts';
import type { AuditMembers, Log } from './log.ts';

export interface RecurringOptions {
  readonly log: Omit<Log, 'of'>;
  readonly clock: Clock;
  /** Shortest time between two lines. */
  readonly intervalMs: number;
  /** Of the line in the audit. */
  readonly action?: AuditMembers['action'];
}

/** The first is logged at once; then one line an interval, with the latest text and a count. */
export class RecurringWarning {
  readonly #options: RecurringOptions;
  #lineMs = -Infinity;
  #unreported = 0;
  #text = '';
  #addresses = new AddressTally();

  constructor(options: RecurringOptions) {
    this.#options = options;
  }

  /**
   * @param address to be counted by itself.
   * @returns whether it was logged now.
   */
  add(text: string, address?: string): boolean {
    this.#text = text;
    this.#unreported++;
    if (address !== undefined) this.#addresses.add(address);
    return this.reportIfDue();
  }

  /** To be called once an interval: the last ones may have no successor. */
  reportIfDue(): boolean {
    const { log, clock, intervalMs, action } = this.#options;
    const now = clock.monotonicMs();
    const sinceMs = now - this.#lineMs;
    if (this.#unreported === 0 || sinceMs < intervalMs) return false;
    const more = this.#unreported - 1;
    const from = this.#addresses.isEmpty ? '' : `; from ${this.#addresses.text()}`;
    const times = more === 0 ? '' : ` (${more} more in ${formatDuration(sinceMs)}${from})`;
    if (action === undefined) log.warning(this.#text + times);
    else log.audit(this.#text + times, { action });
    this.#addresses = new AddressTally();
    this.#lineMs = now;
    this.#unreported = 0;
    return true;
  }

  /** Drops what is not logged yet. */
  clear(): void {
    this.#unreported = 0;
  }
}

/** How far a transfer is durable; it moves on when a flush succeeds. */
export interface DurablePoint {
  readonly epoch: string;
  readonly durableGeneration: number;
}

/** Something without which nothing becomes durable. Logs that it fails, and after how long it works again. */
export class Outage {
  readonly #options: RecurringOptions;
  readonly #warning: RecurringWarning;
  readonly #end: string;
  #sinceMs: number | undefined;
  #isReported = false;
  #epoch = '';
  #generation = 0;

  /** @param end what the line at the end says, before the duration. */
  constructor(options: RecurringOptions, end: string) {
    this.#options = options;
    this.#warning = new RecurringWarning(options);
    this.#end = end;
  }

  fail(text: string, at?: DurablePoint): void {
    this.#sinceMs ??= this.#options.clock.monotonicMs();
    this.#epoch = at?.epoch ?? '';
    this.#generation = at?.durableGeneration ?? 0;
    if (this.#warning.add(text)) this.#isReported = true;
  }

  reportIfDue(): void {
    if (this.#warning.reportIfDue()) this.#isReported = true;
  }

  /** It is over once something has become durable since the last failure. */
  durable({ epoch, durableGeneration }: DurablePoint): void {
    if (this.#sinceMs === undefined || durableGeneration === 0) return;
    if (epoch === this.#epoch && durableGeneration === this.#generation) return;
    const { log, clock } = this.#options;
    const durationMs = clock.monotonicMs() - this.#sinceMs;
    // An outage that comes and goes within an interval has no line for its end either.
    if (this.#isReported) log.info(`${this.#end} after ${formatDuration(durationMs)}`);
    this.#warning.clear();
    this.#sinceMs = undefined;
    this.#isReported = false;
  }
}
