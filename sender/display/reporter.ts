/**
 * Shows people or programs how far a transfer is: JSON lines on standard output; plain lines, or a live area
 * at the bottom of the terminal, on standard error.
 */
import type { Area } from '../../common/areas.ts';
import type { TransferError } from '../../common/errors.ts';
import type { Trouble } from '../../common/hooks.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { RateMeter } from '../../common/rate.ts';
import { redact } from '../../common/text.ts';
import { formatLimit, type Limit } from '../../common/bandwidth/bandwidth-schedule.ts';
import type { DoneFacts, DryRunFacts } from '../transfer/counters.ts';
import type { ProbeFacts } from '../transfer/probe.ts';
import type { Comparison } from '../transfer/comparison.ts';
import type { Observed, SendReporter } from '../transfer/reporter-port.ts';
import { Eta } from './eta.ts';
import { liveLines, titleOf } from './live-line.ts';
import { OutageReport } from './outage-report.ts';
import { textOf, waitingEvent, type Waiting } from './outage.ts';
import type { Snapshot } from './progress-columns.ts';
import { comparisonEvent, comparisonText, differenceSentences } from './comparison-text.ts';
import {
  doneEvent,
  doneSentence,
  doneText,
  dryRunText,
  keptOpenEvent,
  keptOpenText,
  lastWordOf,
  probeText,
  progressEvent,
  progressLine,
} from './progress-text.ts';
import type { ProgressFormat, ReporterOptions } from './reporter-options.ts';
import { TroubleWatch } from './trouble.ts';
import { UnreadableReport } from './unreadable-report.ts';

const TICK_MS = 1000;
/** A line a minute in a log, more often where somebody watches. */
const PLAIN_INTERVAL_MS = 60_000;
const TERMINAL_INTERVAL_MS = 5000;
/** Shorter than the window of what arrives: it has no steps of whole blocks. */
const LINE_WINDOW_MS = 10_000;
/** Connecting takes less on a line that works. */
const CONNECTING_MS = 1000;

/** Which of several disks it is, from 1. */
export interface DiskFacts {
  readonly number: number;
  readonly count: number;
  readonly source: string;
  readonly target: string;
}

export class Reporter implements SendReporter {
  readonly #options: ReporterOptions;
  #rate = new RateMeter();
  #lineRate = new RateMeter(LINE_WINDOW_MS);
  #eta = new Eta();
  readonly #unreadable: UnreadableReport;
  readonly #outages: OutageReport;
  readonly #trouble: TroubleWatch | undefined;
  #lastWord: Trouble = { code: 'none', message: '' };
  #names: Pick<Trouble, 'source' | 'target'> = {};
  #observed: Observed | undefined;
  #timer: NodeJS.Timeout | undefined;
  #connecting: NodeJS.Timeout | undefined;
  #lastLineMs = 0;
  #lastText = '';
  #connections = 0;
  #limit: (() => Limit) | undefined;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#unreadable = new UnreadableReport(options.clock, (warning) => {
      this.warning({ warning });
      this.#trouble?.note({ code: 'unreadable', message: warning });
    });
    const { trouble } = options;
    this.#trouble =
      trouble && new TroubleWatch({ ...trouble, tell: (one) => trouble.tell({ ...this.#names, ...one }) });
    this.#outages = new OutageReport({
      clock: options.clock,
      warn: (warning) => this.warning({ warning }),
      fact: (text) => this.fact(text),
      isShown: () => this.#isLive,
    });
  }

  /** A fact for people: `source   /dev/sdc: …`. */
  fact(text: string): void {
    this.#options.watch?.message('info', text);
    if (this.#options.format !== 'none') this.#print(`${text}\n`);
  }

  /** A fact that somebody has asked for by an option: whatever the format. */
  always(text: string): void {
    this.#print(`${text}\n`);
  }

  /** What trouble is about. */
  about(names: { readonly source: string; readonly target: string }): void {
    this.#names = names;
  }

  /** What there is to say at the end. */
  get lastWord(): Trouble {
    return { ...this.#names, ...this.#lastWord };
  }

  /** The first contact; named when it takes long. */
  connecting(host: string, port: number): void {
    this.#connecting = setTimeout(
      () => this.fact(`connecting to ${formatHostPort(host, port)} …`),
      CONNECTING_MS,
    );
  }

  connected(): void {
    clearTimeout(this.#connecting);
    if (this.#observed === undefined) this.#options.watch?.waiting(undefined);
  }

  /** Prints the limit, and keeps showing it in the live area. */
  showLimit(limit: () => Limit): void {
    this.#limit = limit;
    this.fact(`limit    ${formatLimit(limit())}`);
  }

  /** What follows is about one of several disks. */
  disk(facts: DiskFacts): void {
    [this.#rate, this.#lineRate, this.#eta] = [new RateMeter(), new RateMeter(LINE_WINDOW_MS), new Eta()];
    const { number, count, source, target } = facts;
    this.#options.watch?.disk(facts);
    this.fact(`disk     ${number} of ${count}: ${source} to ${target}`);
    this.#emit({ event: 'disk', ...facts });
  }

  /** Of several disks, one sentence each. */
  results(sentences: readonly string[]): void {
    for (const sentence of sentences) this.fact(`result   ${sentence}`);
    this.#lastWord = { code: 'several', message: sentences.join('; ') };
    this.#names = {};
  }

  start(observed: Observed): void {
    this.#observed = observed;
    this.#outages.begin();
    this.#lastLineMs = this.#options.clock.monotonicMs();
    this.#tick();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Nothing is printed on its own any more; the last state stays on the terminal. */
  stop(): void {
    this.connected();
    clearInterval(this.#timer);
    this.#unreadable.report();
    this.#observed = undefined;
    this.#options.live?.area.end();
    this.#options.live?.title?.end();
  }

  /** Something wrong that does not end the run: for people, whatever the format. */
  warning({ warning, hint }: { warning: string; hint?: string }): void {
    this.#options.watch?.message('warning', hint === undefined ? warning : `${warning}; ${hint}`);
    this.#print(`ddt-send: warning: ${redact(warning)}\n`);
    if (hint !== undefined) this.#print(`ddt-send: hint: ${redact(hint)}\n`);
  }

  /** Why a result is not proven. */
  caveat(caveat: { warning: string; hint?: string }): void {
    this.warning(caveat);
    const { code, message } = this.#lastWord;
    this.#lastWord = { code, message: `${message}; ${caveat.warning}`, hint: caveat.hint };
  }

  /** What to type after the copy: for people, as a fact is. */
  hint(text: string): void {
    this.fact(`ddt-send: hint: ${redact(text)}`);
  }

  /** Of the terminal. */
  ring(): void {
    if (this.#options.isTerminal) this.#print('\x07');
  }

  /** A line for people, whatever the format: somebody has asked. */
  progressNow(): void {
    const observed = this.#observed;
    const text =
      observed === undefined
        ? 'ddt-send: nothing is being sent now'
        : progressLine(this.#snapshot(observed, this.#outages.waiting(observed.connections())));
    this.#print(`${text}\n`);
  }

  noteRetry(error: TransferError, giveUpInMs = Infinity): void {
    this.connected();
    this.#outages.noteRetry(error, giveUpInMs);
    // Before the transfer starts nothing ticks.
    if (this.#observed !== undefined) return;
    const waiting = this.#outages.waiting(0);
    this.#options.watch?.waiting(waiting);
    this.#trouble?.follow(waiting);
    this.#emitWaiting(waiting);
  }

  noteRoom(): void {
    this.#outages.noteRoom();
  }

  noteOtherSource(differentCount: number, recordedCount: number): void {
    const what = `${differentCount} of the first ${recordedCount} blocks that the target had recorded`;
    const message = `${what} differ from this source: was another one copied before?`;
    const hint = 'if this is the wrong source, end this run now: it overwrites them';
    this.warning({ warning: message, hint });
    this.#trouble?.note({ code: 'other-source', message, hint });
  }

  noteLost(count: number): void {
    const blocks = count === 1 ? 'a block was' : `${count} blocks were`;
    const message = `${blocks} lost on the target after they had been durable: sent again`;
    const hint = 'the log of ddt-receive says why';
    this.warning({ warning: message, hint });
    this.#options.watch?.lost(count);
    this.#trouble?.note({ code: 'lost', message, hint });
  }

  noteUnreadable(areas: readonly Area[]): void {
    this.#unreadable.zeroed.add(areas);
    this.#options.watch?.unreadable(areas);
  }

  noteKept(areas: readonly Area[]): void {
    this.#unreadable.kept.add(areas);
  }

  done(facts: DoneFacts, targetPath: string): void {
    const { format, writeOut } = this.#options;
    if (this.#observed !== undefined) {
      // Its connections are closed by now: show those of the transfer.
      const connections = this.#connections;
      this.#observed = { ...this.#observed, connections: () => connections };
      this.#lastLineMs = -Infinity;
      this.#tick();
    }
    this.stop();
    this.#options.watch?.ended({ kind: 'done', facts, targetPath });
    this.#lastWord = { code: 'done', message: doneSentence(facts, targetPath) };
    this.#emit(doneEvent(facts));
    if (isForPeople(format)) writeOut(doneText(facts, targetPath));
  }

  dryRun(facts: DryRunFacts): void {
    const { format, writeOut } = this.#options;
    this.stop();
    this.#lastWord = lastWordOf('dry-run', dryRunText(facts));
    this.#emit({ event: 'dry-run', ...facts });
    if (isForPeople(format)) writeOut(dryRunText(facts));
  }

  probed(facts: ProbeFacts): void {
    const { format, writeOut } = this.#options;
    this.stop();
    this.#lastWord = lastWordOf('probe', probeText(facts));
    this.#emit({ event: 'probe', ...facts });
    if (isForPeople(format)) writeOut(probeText(facts));
  }

  /** A comparison, after which nothing was sealed again. */
  compared(comparison: Comparison, targetPath: string): void {
    const { format, writeOut } = this.#options;
    this.stop();
    this.#options.watch?.ended({ kind: 'compared', comparison, targetPath });
    this.#lastWord = lastWordOf('compared', comparisonText(comparison, targetPath));
    this.#emit(comparisonEvent(comparison));
    if (isForPeople(format)) writeOut(comparisonText(comparison, targetPath));
    // Otherwise nothing would say why the exit status is not 0.
    else if (format === 'none')
      for (const warning of differenceSentences(comparison, targetPath)) this.warning({ warning });
  }

  /** Everything is durable, nothing is sealed. */
  keptOpen(facts: DoneFacts, targetPath: string): void {
    const { format, writeOut } = this.#options;
    this.stop();
    this.#options.watch?.ended({ kind: 'kept-open', facts, targetPath });
    this.#lastWord = lastWordOf('kept-open', keptOpenText(facts, targetPath));
    this.#emit(keptOpenEvent(facts));
    if (isForPeople(format)) writeOut(keptOpenText(facts, targetPath));
  }

  failed(error: { code: string; message: string; hint?: string | undefined }): void {
    this.stop();
    this.#options.watch?.ended({ kind: 'failed', error: { message: error.message, hint: error.hint } });
    this.#lastWord = { code: error.code, message: error.message, hint: error.hint };
    const message = redact(error.message);
    const hint = error.hint === undefined ? {} : { hint: redact(error.hint) };
    this.#emit({ event: 'failed', code: error.code, message, ...hint });
  }

  get #isLive(): boolean {
    return this.#options.format === 'tty' && this.#observed !== undefined;
  }

  #print(text: string): void {
    const { live, writeErr } = this.#options;
    if (live === undefined) writeErr(text);
    else live.area.print(text);
  }

  /** For programs: on standard output, and to those who watch. */
  #emit(event: Readonly<Record<string, unknown>>): void {
    const { format, writeOut, watch } = this.#options;
    watch?.event(event);
    if (format === 'json') writeOut(`${JSON.stringify(event)}\n`);
  }

  #emitWaiting(waiting: Waiting | undefined): void {
    if (waiting !== undefined) this.#emit(waitingEvent(waiting));
  }

  #tick(): void {
    const observed = this.#observed;
    if (observed === undefined) return;
    this.#unreadable.reportIfDue();
    const waiting = this.#outages.follow(observed);
    this.#trouble?.follow(waiting);
    const snapshot = this.#snapshot(observed, waiting);
    this.#connections = snapshot.connections;
    const { format, live, watch } = this.#options;
    watch?.tick(snapshot, waiting);
    this.#emit(progressEvent(snapshot));
    this.#emitWaiting(waiting);
    if (format === 'plain') this.#printLine(snapshot);
    if (format === 'tty' && live !== undefined) {
      const outage = waiting === undefined ? undefined : textOf(waiting);
      live.area.draw((columns) => liveLines(snapshot, outage, columns, live.style));
      live.title?.show(titleOf(snapshot, outage !== undefined, this.#names.source));
    }
    // For the next tick: reading the kernel's tables takes a moment.
    void observed.look();
  }

  #printLine(snapshot: Snapshot): void {
    const { clock, isTerminal } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lastLineMs < (isTerminal ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
    this.#lastLineMs = nowMs;
    const text = progressLine(snapshot);
    if (text !== this.#lastText) this.#print(`${text}\n`);
    this.#lastText = text;
  }

  /** @param waiting in an outage; then there is no estimate of the end. */
  #snapshot(observed: Observed, waiting: Waiting | undefined): Snapshot {
    const { counters, bytesTotal, blockSizeBytes } = observed;
    const nowMs = this.#options.clock.monotonicMs();
    const durableBytes = counters.durable * blockSizeBytes;
    const bytesArrived = Math.min(bytesTotal ?? Infinity, durableBytes + observed.bytesUnderWay());
    this.#rate.add(nowMs, bytesArrived);
    this.#lineRate.add(nowMs, observed.bytesAcknowledged());
    const hasEnd = waiting === undefined && bytesTotal !== null;
    if (hasEnd) this.#eta.add(nowMs, bytesArrived, bytesTotal - bytesArrived);
    else this.#eta.skip(nowMs, bytesArrived);
    const { leftMs } = this.#eta;
    return {
      counters: { ...counters },
      bytesTotal,
      blockSizeBytes,
      bytesArrived,
      bytesPerSecond: this.#rate.bytesPerSecond,
      bytesWire: observed.bytesWire(),
      lineBytesPerSecond: this.#lineRate.bytesPerSecond,
      limitBytesPerSecond: this.#limit?.(),
      connections: observed.connections(),
      secondsLeft: hasEnd && leftMs !== undefined ? Math.round(leftMs / 1000) : null,
    };
  }
}

function isForPeople(format: ProgressFormat): boolean {
  return format === 'tty' || format === 'plain';
}
