/** What people see of a fleet: lines of a log, and the table of a terminal. Pure. */
import { printable } from '../common/text.ts';
import { formatDuration, formatRate, formatSize } from '../common/units.ts';
import type { JobState } from './job-state.ts';

const BAR_CELLS = 10;
const NAME_CELLS_MIN = 12;
const GAP = '  ';

/** Of the whole fleet. */
export interface Totals {
  readonly count: number;
  readonly running: number;
  /** Those in a pause included. */
  readonly waiting: number;
  readonly complete: number;
  readonly unproven: number;
  readonly failed: number;
  readonly bytesArrived: number;
  /** null: the size of a job is not known yet. */
  readonly bytesTotal: number | null;
  readonly bytesPerSecond: number;
  /** null: it cannot be said. */
  readonly secondsLeft: number | null;
}

export function totalsOf(states: readonly JobState[]): Totals {
  const count = (phase: JobState['phase']): number => states.filter((state) => state.phase === phase).length;
  const sum = (value: (state: JobState) => number): number =>
    states.reduce((total, state) => total + value(state), 0);
  // What has failed is not waited for.
  const wanted = states.filter(({ phase }) => phase !== 'failed');
  const isKnown = wanted.every(({ bytesTotal }) => bytesTotal !== null);
  const bytesTotal = isKnown ? wanted.reduce((total, state) => total + (state.bytesTotal ?? 0), 0) : null;
  const bytesArrived = wanted.reduce((total, state) => total + state.bytesArrived, 0);
  const bytesPerSecond = sum((state) => state.bytesPerSecond);
  const bytesLeft = bytesTotal === null ? null : Math.max(0, bytesTotal - bytesArrived);
  return {
    count: states.length,
    running: count('running'),
    waiting: count('waiting') + count('paused'),
    complete: count('complete'),
    unproven: count('unproven'),
    failed: count('failed'),
    bytesArrived,
    bytesTotal,
    bytesPerSecond,
    secondsLeft: bytesLeft === null || bytesPerSecond === 0 ? null : Math.round(bytesLeft / bytesPerSecond),
  };
}

/** `3 running, 12 waiting, 5 complete of 20  41.2 GiB of 1.9 TiB  93.1 Mbit/s  ETA 2 d 3 h`. */
export function totalsText(totals: Totals): string {
  const { running, bytesTotal, bytesArrived, bytesPerSecond, secondsLeft } = totals;
  const of = bytesTotal === null ? '' : ` of ${formatSize(bytesTotal)}`;
  const parts = [`${countsText(totals)} of ${totals.count}`, `${formatSize(Math.floor(bytesArrived))}${of}`];
  if (running > 0) {
    parts.push(formatRate(bytesPerSecond));
    parts.push(secondsLeft === null ? 'ETA unknown' : `ETA ${formatDuration(secondsLeft * 1000)}`);
  }
  return parts.join(GAP);
}

/** Those that are not zero. */
export function countsText(totals: Totals): string {
  const names = ['running', 'waiting', 'complete', 'unproven', 'failed'] as const;
  const parts = names.filter((name) => totals[name] > 0).map((name) => `${totals[name]} ${name}`);
  return parts.length === 0 ? 'no job' : parts.join(', ');
}

/**
 * The table: a line for all, one for each job that runs or waits for a restart.
 * @param rows at most; the others are counted. @returns lines narrower than `columns`.
 */
export function boardLines(
  states: readonly JobState[],
  {
    columns,
    rows,
    hasBlocks,
  }: { readonly columns: number; readonly rows: number; readonly hasBlocks: boolean },
): string[] {
  const width = Math.max(1, columns - 1);
  const shown = states.filter(({ phase }) => phase === 'running' || phase === 'paused');
  const room = Math.max(1, rows - 2);
  const rest = shown.length > room ? shown.length - (room - 1) : 0;
  const listed = shown.slice(0, shown.length - rest);
  const cells = listed.map(({ job }) => job.name.length);
  // Sixty columns are for the numbers.
  const nameCells = Math.max(NAME_CELLS_MIN, Math.min(width - 60, Math.max(0, ...cells)));
  const lines = [
    `fleet    ${totalsText(totalsOf(states))}`,
    ...listed.map((state) => jobLine(state, nameCells, hasBlocks)),
    ...(rest > 0 ? [`… and ${rest} more`] : []),
  ];
  return lines.map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line));
}

function jobLine(state: JobState, nameCells: number, hasBlocks: boolean): string {
  const { job, percent, bytesArrived, bytesTotal, bytesPerSecond, secondsLeft, phase } = state;
  const name = job.name.length > nameCells ? `${job.name.slice(0, nameCells - 1)}…` : job.name;
  const head = name.padEnd(nameCells);
  const reason = state.reason === undefined ? '' : `${GAP}${printable(state.reason, ' ')}`;
  if (phase === 'paused') return `${head}${GAP}waits for a restart${reason}`;
  const share = percent === null ? '    ' : `${Math.floor(percent)} %`.padStart(5);
  if (reason !== '') return `${head}${GAP}${share}${reason}`;
  if (bytesTotal === null || percent === null) return `${head}${GAP}${share}${GAP}starting`;
  const parts = [
    `${share} ${bar(percent, hasBlocks)}`,
    `${formatSize(Math.floor(bytesArrived))} of ${formatSize(bytesTotal)}`.padStart(22),
    formatRate(bytesPerSecond).padStart(12),
    secondsLeft === null ? 'ETA unknown' : `ETA ${formatDuration(secondsLeft * 1000)}`,
  ];
  return [head, ...parts].join(GAP);
}

function bar(percent: number, hasBlocks: boolean): string {
  const full = Math.floor((Math.min(100, percent) * BAR_CELLS) / 100);
  const [cell, left, right] = hasBlocks ? ['█', '▕', '▏'] : ['#', '[', ']'];
  return left + cell.repeat(full).padEnd(BAR_CELLS) + right;
}
