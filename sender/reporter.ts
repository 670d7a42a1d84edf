/**
 * Tells a person or a program how far it is: JSON lines on standard output, or plain lines on standard error.
 */
import { AREAS_NAMED_MAX, AreaReport } from '../common/area-report.ts';
import { countAreas, formatAreas, type Area } from '../common/areas.ts';
import type { Clock } from '../common/clock.ts';
import type { TransferError } from '../common/errors.ts';
import { redact } from '../common/ticket.ts';
import { formatDuration } from '../common/units.ts';
import { RateMeter } from '../common/rate.ts';
import {
  doneEvent,
  doneText,
  dryRunText,
  progressEvent,
  progressLine,
  type BlockCounters,
  type DoneFacts,
  type DryRunFacts,
} from './progress.ts';

export type ProgressFormat = 'plain' | 'json' | 'none';

const JSON_INTERVAL_MS = 1000;
/** A line a minute where a log is kept, more often where somebody looks. */
const PLAIN_INTERVAL_MS = 60_000;
const TERMINAL_INTERVAL_MS = 5000;
/** An outage is told when it begins and then at this interval. */
const OUTAGE_INTERVAL_MS = 60_000;

export interface ReporterOptions {
  readonly format: ProgressFormat;
  readonly isTerminal: boolean;
  readonly clock: Clock;
  readonly writeOut: (text: string) => void;
  readonly writeErr: (text: string) => void;
}

/** What the reporter looks at when it is time for a line. */
export interface Observed {
  readonly counters: Readonly<BlockCounters>;
  /** null while it is not known. */
  readonly bytesTotal: number | null;
  readonly blockSizeBytes: number;
  readonly bytesWire: () => number;
  readonly connections: () => number;
}

/** What the use case tells while it runs. */
export interface SendReporter {
  fact(text: string): void;
  start(observed: Observed): void;
  noteRetry(error: TransferError): void;
  /** Areas of the source that cannot be read, and that the target has nothing better for: zeros. */
  noteUnreadable(areas: readonly Area[]): void;
  /** Areas that cannot be read any more, and that the target has from an earlier run. */
  noteKept(areas: readonly Area[]): void;
}

export class Reporter implements SendReporter {
  readonly #options: ReporterOptions;
  readonly #rate = new RateMeter();
  #observed: Observed | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastLineMs = -Infinity;
  #lastText = '';
  #outageSinceMs: number | undefined;
  #lastOutageMs = -Infinity;
  readonly #unreadable: AreaReport;
  readonly #kept: AreaReport;

  constructor(options: ReporterOptions) {
    this.#options = options;
    const { clock } = options;
    this.#unreadable = this.#areaReport(clock, 'cannot be read: zeros are sent instead');
    this.#kept = this.#areaReport(
      clock,
      'cannot be read any more: the target has them from an earlier run, and keeps them',
    );
  }

  /** A fact for people: `source   /dev/sdc: …`. */
  fact(text: string): void {
    if (this.#options.format !== 'none') this.#options.writeErr(`${text}\n`);
  }

  start(observed: Observed): void {
    this.#observed = observed;
    this.#tick();
    this.#timer = setInterval(() => this.#tick(), JSON_INTERVAL_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#unreadable.tell();
    this.#kept.tell();
  }

  /** For people, whatever the format, as it does not end the run. */
  warning({ warning, hint }: { warning: string; hint?: string }): void {
    this.#options.writeErr(`ddt-send: warning: ${redact(warning)}\n`);
    if (hint !== undefined) this.#options.writeErr(`ddt-send: hint: ${redact(hint)}\n`);
  }

  /** What to type when all is done: for people, as a fact is. */
  hint(text: string): void {
    this.fact(`ddt-send: hint: ${redact(text)}`);
  }

  /** A failure that is being tried again. */
  noteRetry(error: TransferError): void {
    const now = this.#options.clock.monotonicMs();
    this.#outageSinceMs ??= now;
    if (now - this.#lastOutageMs < OUTAGE_INTERVAL_MS) return;
    this.#lastOutageMs = now;
    const sinceMs = now - this.#outageSinceMs;
    const since = sinceMs < 1000 ? '' : ` (for ${formatDuration(sinceMs)} now)`;
    const where = error.kind === 'device' || error.code === 'no-space' ? 'the target fails: ' : '';
    this.#options.writeErr(`ddt-send: warning: ${where}${redact(error.message)}; trying again${since}\n`);
  }

  noteUnreadable(areas: readonly Area[]): void {
    this.#unreadable.add(areas);
  }

  noteKept(areas: readonly Area[]): void {
    this.#kept.add(areas);
  }

  done(facts: DoneFacts, targetPath: string): void {
    this.stop();
    const { format, writeOut } = this.#options;
    if (format === 'json') {
      if (this.#observed !== undefined) this.#writeProgress(this.#observed);
      writeOut(`${JSON.stringify(doneEvent(facts))}\n`);
    } else if (format === 'plain') writeOut(doneText(facts, targetPath));
  }

  dryRun(facts: DryRunFacts): void {
    const { format, writeOut } = this.#options;
    if (format === 'json') writeOut(`${JSON.stringify({ event: 'dry-run', ...facts })}\n`);
    else if (format === 'plain') writeOut(dryRunText(facts));
  }

  failed(error: { code: string; message: string; hint?: string | undefined }): void {
    this.stop();
    if (this.#options.format !== 'json') return;
    const message = redact(error.message);
    const hint = error.hint === undefined ? {} : { hint: redact(error.hint) };
    this.#options.writeOut(`${JSON.stringify({ event: 'failed', code: error.code, message, ...hint })}\n`);
  }

  #areaReport(clock: Clock, what: string): AreaReport {
    return new AreaReport(clock, (areas) => {
      const where = formatAreas(areas, AREAS_NAMED_MAX);
      this.#options.writeErr(`ddt-send: warning: ${countAreas(areas)} of the source (${where}) ${what}\n`);
    });
  }

  #tick(): void {
    const observed = this.#observed;
    if (observed === undefined) return;
    this.#unreadable.tellIfDue();
    this.#kept.tellIfDue();
    const now = this.#options.clock.monotonicMs();
    const durable = observed.counters.durable;
    this.#rate.add(now, durable * observed.blockSizeBytes);
    if (this.#rate.bytesPerSecond > 0 && this.#outageSinceMs !== undefined && observed.connections() > 0) {
      this.#outageSinceMs = undefined;
    }
    const { format, isTerminal } = this.#options;
    if (format === 'json') this.#writeProgress(observed);
    if (format !== 'plain') return;
    if (now - this.#lastLineMs < (isTerminal ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
    this.#lastLineMs = now;
    const text = progressLine(this.#snapshot(observed));
    if (text !== this.#lastText) this.#options.writeErr(`${text}\n`);
    this.#lastText = text;
  }

  #writeProgress(observed: Observed): void {
    this.#options.writeOut(`${JSON.stringify(progressEvent(this.#snapshot(observed)))}\n`);
  }

  #snapshot(observed: Observed): Parameters<typeof progressLine>[0] {
    const { counters, bytesTotal, blockSizeBytes } = observed;
    return {
      counters,
      bytesTotal,
      blockSizeBytes,
      bytesWire: observed.bytesWire(),
      connections: observed.connections(),
      bytesPerSecond: this.#rate.bytesPerSecond,
      secondsLeft:
        bytesTotal === null
          ? null
          : this.#rate.secondsLeft((counters.total - counters.durable) * blockSizeBytes),
    };
  }
}
