/**
 * Tells a person or a program how far it is: JSON lines on standard output; plain lines, or a live area at
 * the bottom of the terminal, on standard error.
 */
import type { Area } from '../../common/areas.ts';
import type { Clock } from '../../common/clock.ts';
import type { TransferError } from '../../common/errors.ts';
import { redact } from '../../common/text.ts';
import { RateMeter } from './rate.ts';
import { DamageReport } from './unreadable-report.ts';
import type { LiveArea } from './live-area.ts';
import { liveLines, type BarStyle, type LiveState } from './live-line.ts';
import { OutageReport } from './outage-report.ts';
import type { DoneFacts, DryRunFacts } from '../transfer/counters.ts';
import { doneEvent, doneText, dryRunText, progressEvent, progressLine } from './progress-text.ts';
import { formatLimit, type Limit } from '../bandwidth/bandwidth-schedule.ts';
import type { Observed, SendReporter } from '../transfer/reporter-port.ts';
import { TimeLeft } from './eta.ts';
import { textOf, waitingEvent, type Waiting } from './outage.ts';

export type ProgressFormat = 'tty' | 'plain' | 'json' | 'none';

const JSON_INTERVAL_MS = 1000;
/** A line a minute where a log is kept, more often where somebody looks. */
const PLAIN_INTERVAL_MS = 60_000;
const TERMINAL_INTERVAL_MS = 5000;
/** In the live area: what becomes durable comes in steps, what goes over the line less so. */
const DURABLE_WINDOW_MS = 60_000;
const LINE_WINDOW_MS = 10_000;

export interface ReporterOptions {
  readonly format: ProgressFormat;
  readonly isTerminal: boolean;
  readonly clock: Clock;
  readonly writeOut: (text: string) => void;
  readonly writeErr: (text: string) => void;
  /** Of the format `tty`; whatever else is for people goes through it, too. */
  readonly live?: { readonly area: LiveArea; readonly style: BarStyle };
}

export class Reporter implements SendReporter {
  readonly #options: ReporterOptions;
  readonly #rate: RateMeter;
  readonly #lineRate = new RateMeter(LINE_WINDOW_MS);
  readonly #timeLeft = new TimeLeft();
  #observed: Observed | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastLineMs = -Infinity;
  #lastText = '';
  #connections = 0;
  #limit: (() => Limit) | undefined;
  readonly #damage: DamageReport;
  readonly #outages: OutageReport;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#rate = options.format === 'tty' ? new RateMeter(DURABLE_WINDOW_MS) : new RateMeter();
    this.#damage = new DamageReport(options.clock, (warning) => this.warning({ warning }));
    this.#outages = new OutageReport({
      clock: options.clock,
      warn: (warning) => this.warning({ warning }),
      fact: (text) => this.fact(text),
      isShown: () => this.#isLive,
    });
  }

  /** A fact for people: `source   /dev/sdc: …`. */
  fact(text: string): void {
    if (this.#options.format !== 'none') this.#print(`${text}\n`);
  }

  /** Told now, and shown in a live area from now on. */
  showLimit(limit: () => Limit): void {
    this.#limit = limit;
    this.fact(`limit    ${formatLimit(limit())}`);
  }

  start(observed: Observed): void {
    this.#observed = observed;
    this.#outages.begin();
    this.#tick();
    this.#timer = setInterval(() => this.#tick(), JSON_INTERVAL_MS);
    this.#timer.unref();
  }

  /** Nothing is told by itself any more; what stands on the terminal stays. */
  stop(): void {
    clearInterval(this.#timer);
    this.#damage.tell();
    // The last state is that of a transfer: its connections are closed by now.
    const connections = this.#connections;
    if (this.#observed !== undefined && this.#isLive) {
      this.#observed = { ...this.#observed, connections: () => connections };
      this.#tick();
    }
    this.#observed = undefined;
    this.#options.live?.area.end();
  }

  /** For people, whatever the format, as it does not end the run. */
  warning({ warning, hint }: { warning: string; hint?: string }): void {
    this.#print(`ddt-send: warning: ${redact(warning)}\n`);
    if (hint !== undefined) this.#print(`ddt-send: hint: ${redact(hint)}\n`);
  }

  /** What to type when all is done: for people, as a fact is. */
  hint(text: string): void {
    this.fact(`ddt-send: hint: ${redact(text)}`);
  }

  /** A failure that is being tried again. */
  noteRetry(error: TransferError, giveUpInMs = Infinity): void {
    this.#outages.noteRetry(error, giveUpInMs);
    // Before there is a transfer nothing else tells.
    if (this.#observed === undefined) this.#writeWaiting(this.#outages.waiting(0));
  }

  noteUnreadable(areas: readonly Area[]): void {
    this.#damage.unreadable.add(areas);
  }

  noteKept(areas: readonly Area[]): void {
    this.#damage.kept.add(areas);
  }

  done(facts: DoneFacts, targetPath: string): void {
    const { format, writeOut } = this.#options;
    const observed = this.#observed;
    this.stop();
    if (format === 'json') {
      if (observed !== undefined) this.#writeProgress(observed);
      writeOut(`${JSON.stringify(doneEvent(facts))}\n`);
    } else if (format !== 'none') writeOut(doneText(facts, targetPath));
  }

  dryRun(facts: DryRunFacts): void {
    const { format, writeOut } = this.#options;
    if (format === 'json') writeOut(`${JSON.stringify({ event: 'dry-run', ...facts })}\n`);
    else if (format !== 'none') writeOut(dryRunText(facts));
  }

  failed(error: { code: string; message: string; hint?: string | undefined }): void {
    this.stop();
    if (this.#options.format !== 'json') return;
    const message = redact(error.message);
    const hint = error.hint === undefined ? {} : { hint: redact(error.hint) };
    this.#options.writeOut(`${JSON.stringify({ event: 'failed', code: error.code, message, ...hint })}\n`);
  }

  get #isLive(): boolean {
    return this.#options.format === 'tty' && this.#observed !== undefined;
  }

  #print(text: string): void {
    const { live, writeErr } = this.#options;
    if (live === undefined) writeErr(text);
    else live.area.print(text);
  }

  #tick(): void {
    const observed = this.#observed;
    if (observed === undefined) return;
    this.#damage.tellIfDue();
    const now = this.#options.clock.monotonicMs();
    const durable = observed.counters.durable;
    this.#rate.add(now, durable * observed.blockSizeBytes);
    const waiting = this.#outages.follow(observed);
    const { format, isTerminal, live } = this.#options;
    if (format === 'json') this.#writeProgress(observed);
    this.#writeWaiting(waiting);
    if (format === 'tty' && live !== undefined) {
      const state = this.#liveState(observed, now, waiting);
      live.area.draw((columns) => liveLines(state, columns, live.style));
    }
    if (format !== 'plain') return;
    if (now - this.#lastLineMs < (isTerminal ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
    this.#lastLineMs = now;
    const text = progressLine(this.#snapshot(observed));
    if (text !== this.#lastText) this.#print(`${text}\n`);
    this.#lastText = text;
  }

  #liveState(observed: Observed, now: number, waiting: Waiting | undefined): LiveState {
    const { counters, bytesTotal, blockSizeBytes } = observed;
    const snapshot = this.#snapshot(observed);
    const trouble = waiting === undefined ? undefined : textOf(waiting);
    const doneBytes = Math.min(bytesTotal ?? Infinity, counters.durable * blockSizeBytes);
    if (trouble === undefined && bytesTotal !== null)
      this.#timeLeft.add(now, doneBytes, bytesTotal - doneBytes);
    else this.#timeLeft.skip(now, doneBytes);
    this.#lineRate.add(now, snapshot.bytesWire);
    this.#connections = snapshot.connections;
    return {
      ...snapshot,
      counters: { ...counters },
      lineBytesPerSecond: this.#lineRate.bytesPerSecond,
      timeLeft: trouble === undefined ? this.#timeLeft.text : 'unknown',
      limitBytesPerSecond: this.#limit?.(),
      trouble,
    };
  }

  #writeWaiting(waiting: Waiting | undefined): void {
    if (waiting === undefined || this.#options.format !== 'json') return;
    this.#options.writeOut(`${JSON.stringify(waitingEvent(waiting))}\n`);
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
