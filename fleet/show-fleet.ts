/** Shows a fleet: a table on a terminal, lines in a log, objects for programs. */
import type { LiveArea } from '../common/io/live-area.ts';
import { printable } from '../common/text.ts';
import { formatDuration, formatSize } from '../common/units.ts';
import { boardLines, totalsOf, totalsText } from './board-text.ts';
import { isFinished } from './fleet-journal.ts';
import type { FleetEvents } from './fleet.ts';
import type { FleetWatch } from './fleet-watch.ts';
import type { JobState } from './job-state.ts';

const DRAW_MS = 500;
const LINE_MS = 60_000;

export type ShownAs = 'tty' | 'plain' | 'json' | 'none';

export interface ShowOptions {
  readonly as: ShownAs;
  readonly writeOut: (text: string) => void;
  readonly writeErr: (text: string) => void;
  /** Of a terminal. */
  readonly area: LiveArea | undefined;
  /** Standard output is that terminal, too: what the table says last is there. */
  readonly isOneScreen: boolean;
  readonly rows: () => number;
  readonly hasBlocks: boolean;
  /** Gets what programs are shown, too. */
  readonly watch: Pick<FleetWatch, 'add'> | undefined;
}

export class FleetShow implements FleetEvents, Disposable {
  readonly #options: ShowOptions;
  #states: readonly JobState[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ShowOptions) {
    this.#options = options;
  }

  /** @param states shown after this. */
  begin(states: readonly JobState[]): void {
    this.#states = states;
    const { area, as } = this.#options;
    const skipped = states.filter(({ result }) => isFinished(result));
    if (skipped.length > 0)
      this.fact(`skipped  ${skipped.length} of ${states.length} jobs: complete in an earlier run`);
    for (const state of skipped) this.#json({ event: 'skipped', result: state.result }, state);
    if (area !== undefined) {
      const draw = (): void => area.draw((columns) => this.#board(columns));
      draw();
      this.#timer = setInterval(draw, DRAW_MS);
    } else if (as === 'plain') this.#timer = setInterval(() => this.progressNow(), LINE_MS);
  }

  /** For people; also while a program reads the other output. */
  fact(text: string): void {
    const { as, area, writeErr } = this.#options;
    if (as === 'none' || as === 'json') return;
    const line = `${printable(text)}\n`;
    if (area === undefined) writeErr(line);
    else area.print(line);
  }

  /** For people, whatever the format: an address that nobody sees is of no use. */
  always(text: string): void {
    const { area, writeErr } = this.#options;
    if (area === undefined) writeErr(`${text}\n`);
    else area.print(`${text}\n`);
  }

  warning(text: string): void {
    const { area, writeErr } = this.#options;
    const line = `ddt-fleet: warning: ${printable(text)}\n`;
    if (area === undefined) writeErr(line);
    else area.print(line);
  }

  progressNow(): void {
    if (this.#options.area === undefined) this.fact(`fleet    ${totalsText(totalsOf(this.#states))}`);
  }

  onStarted(state: JobState): void {
    const { job, attempts } = state;
    const again = attempts === 1 ? '' : `, attempt ${attempts}`;
    this.fact(`started  ${job.name}: ${job.source.text} onto ${job.target.text}${again}`);
    const { source, target } = job;
    this.#json({ event: 'started', attempt: attempts, source: source.text, target: target.text }, state);
  }

  onEvent(state: JobState, event: Readonly<Record<string, unknown>>): void {
    this.#json(event, state);
  }

  onPaused(state: JobState, reason: string, pauseMs: number): void {
    this.fact(`again    ${state.job.name} in ${formatDuration(pauseMs)}: ${reason}`);
    this.#json({ event: 'paused', reason, seconds: Math.round(pauseMs / 1000) }, state);
  }

  onInterrupted(state: JobState): void {
    this.fact(`stopped  ${state.job.name}: the same command resumes it`);
    this.#json({ event: 'interrupted' }, state);
  }

  onOver(state: JobState): void {
    const { job, result, reason, bytesTotal } = state;
    const size = bytesTotal === null ? '' : `, ${formatSize(bytesTotal)}`;
    if (result === 'complete') this.fact(`done     ${job.name}${size}: durable, read back and equal`);
    else if (result === 'unproven') this.fact(`unproven ${job.name}${size}: see its log and its receipt`);
    else this.fact(`failed   ${job.name}: ${reason ?? 'for an unknown reason'}`);
    this.#json({ event: 'over', result, ...(reason !== undefined && { reason }) }, state);
  }

  /** The result, on standard output. */
  end(status: number, stateFolder: string): void {
    const { area, as, writeOut, isOneScreen } = this.#options;
    clearInterval(this.#timer);
    area?.end();
    const totals = totalsOf(this.#states);
    const { count, waiting, complete, unproven, failed } = totals;
    const sum = { event: 'fleet', status, count, complete, unproven, failed, waiting };
    this.#options.watch?.add(sum);
    if (as === 'json') writeOut(`${JSON.stringify(sum)}\n`);
    else if (as !== 'none') {
      for (const { job, reason, result } of this.#states) {
        if (result === 'failed') writeOut(`failed   ${job.name}: ${printable(reason ?? '')}\n`);
        if (result === 'unproven') writeOut(`unproven ${job.name}: ${stateFolder}/logs/${job.name}.log\n`);
      }
      if (!isOneScreen) writeOut(`fleet    ${totalsText(totals)}\n`);
      if (totals.complete + totals.unproven > 0) writeOut(`receipts ${stateFolder}/receipts\n`);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#options.area?.end();
  }

  #board(columns: number): string[] {
    const { rows, hasBlocks } = this.#options;
    return boardLines(this.#states, { columns, rows: rows(), hasBlocks });
  }

  #json(event: Readonly<Record<string, unknown>>, { job }: JobState): void {
    // The name is first, and its own: the event may come from another machine.
    const all = Object.assign({ job: '' }, event, { job: job.name });
    this.#options.watch?.add(all);
    if (this.#options.as === 'json') this.#options.writeOut(`${JSON.stringify(all)}\n`);
  }
}
