/**
 * What progress consists of: one table for the terminal's live line, for plain lines and for JSON. A new
 * column is one row here. Pure.
 */
import { formatDuration, formatRate, formatSize } from '../../common/units.ts';
import type { BlockCounters } from '../transfer/counters.ts';

export interface Snapshot {
  readonly counters: Readonly<BlockCounters>;
  /** null until the end of a source of unknown size. */
  readonly bytesTotal: number | null;
  readonly blockSizeBytes: number;
  /** Bytes of the source that the receiver has, those of unfinished blocks included. */
  readonly bytesArrived: number;
  /** How fast that grows. */
  readonly bytesPerSecond: number;
  /** Written to the connections, compressed, with headers. */
  readonly bytesWire: number;
  /** How fast the other end acknowledges them. */
  readonly lineBytesPerSecond: number;
  /** undefined: no limit. */
  readonly limitBytesPerSecond: number | undefined;
  readonly connections: number;
  /** null: unknown. */
  readonly secondsLeft: number | null;
}

export interface ProgressColumn {
  /** Of the member in JSON, which has all columns with a `value`. */
  readonly name: string;
  readonly value?: (snapshot: Snapshot) => number | null;
  /** For people, in the order of the table; undefined: nothing to say now. */
  readonly text?: (snapshot: Snapshot) => string | undefined;
  /** Not on lines of the other format. */
  readonly only?: 'plain' | 'live';
  /** Where a terminal is too narrow for all columns, the highest rank goes first. */
  readonly rank?: number;
  /** Room that the live line keeps for it, so that columns stay in place when a number grows. */
  readonly cells?: number;
}

/** Less than that is headers. */
const RATIO_MIN = 1.05;

export const PROGRESS_COLUMNS: readonly ProgressColumn[] = [
  { name: 'percent', value: percentOf, text: percentText, rank: 0, cells: '100 %'.length },
  { name: 'blocksTotal', value: ({ bytesTotal, counters }) => (bytesTotal === null ? null : counters.total) },
  {
    name: 'blocksDurable',
    value: ({ counters }) => counters.durable,
    text: (snapshot) => durableText(snapshot) ?? sentText(snapshot),
    only: 'plain',
  },
  { name: 'blocksVerified', value: ({ counters }) => counters.verified, text: verifiedText, only: 'plain' },
  {
    name: 'state',
    text: (snapshot) => verifiedText(snapshot) ?? durableText(snapshot) ?? sentText(snapshot),
    only: 'live',
    rank: 2,
    cells: '999.9 GiB verified'.length,
  },
  { name: 'bytesTotal', value: ({ bytesTotal }) => bytesTotal },
  { name: 'bytesArrived', value: ({ bytesArrived }) => Math.floor(bytesArrived) },
  { name: 'bytesWire', value: ({ bytesWire }) => bytesWire },
  {
    name: 'bytesPerSecond',
    value: ({ bytesPerSecond }) => Math.round(bytesPerSecond),
    text: ({ bytesPerSecond }) => formatRate(bytesPerSecond),
    rank: 3,
    cells: '100.0 Mbit/s'.length,
  },
  {
    name: 'lineBytesPerSecond',
    value: ({ lineBytesPerSecond }) => Math.round(lineBytesPerSecond),
    text: ({ lineBytesPerSecond }) => `line ${formatRate(lineBytesPerSecond)}`,
    rank: 8,
    cells: 'line 100.0 Mbit/s'.length,
  },
  {
    name: 'limit',
    text: ({ limitBytesPerSecond: limit }) =>
      limit === undefined ? undefined : `limit ${formatRate(limit)}`,
    only: 'live',
    rank: 7,
  },
  {
    name: 'connections',
    value: ({ connections }) => connections,
    text: ({ connections }) => `${connections} connection${connections === 1 ? '' : 's'}`,
    rank: 5,
    cells: '24 connections'.length,
  },
  {
    name: 'blocksResent',
    value: ({ counters }) => counters.resent,
    text: ({ counters }) => (counters.resent === 0 ? undefined : `${counters.resent} resent`),
    rank: 6,
  },
  { name: 'ratio', text: ratioText, only: 'live', rank: 9, cells: 'ratio 12.3'.length },
  {
    name: 'secondsLeft',
    value: ({ secondsLeft }) => secondsLeft,
    text: etaText,
    rank: 1,
    cells: 'ETA 23 h 50 m'.length,
  },
];

/** Verified blocks count only as far as this run has compared or sent them. */
export function verifiedBlocksOf({ counters }: Snapshot): number {
  return Math.min(counters.verified, counters.durable);
}

/**
 * Of what has arrived, rounded down, below 10 to a tenth. 100 is reached when everything is durable, and
 * verified where blocks are read back.
 */
function percentOf({ counters, bytesArrived, bytesTotal }: Snapshot): number | null {
  if (bytesTotal === null) return null;
  const { total, durable, verified } = counters;
  if (durable >= total && (verified === 0 || verified >= total)) return 100;
  const percent = Math.min(99, (bytesArrived * 100) / bytesTotal);
  return percent < 10 ? Math.floor(percent * 10) / 10 : Math.floor(percent);
}

function percentText(snapshot: Snapshot): string | undefined {
  const percent = percentOf(snapshot);
  if (percent === null) return undefined;
  const hasTenths = percent > 0 && percent < 10;
  return `${hasTenths ? percent.toFixed(1) : String(percent).padStart(3)} %`;
}

function verifiedText(snapshot: Snapshot): string | undefined {
  return blocksText(snapshot, verifiedBlocksOf(snapshot), 'verified');
}

function durableText(snapshot: Snapshot): string | undefined {
  return blocksText(snapshot, snapshot.counters.durable, 'durable');
}

function blocksText(
  { bytesTotal, blockSizeBytes }: Snapshot,
  blocks: number,
  state: string,
): string | undefined {
  if (blocks === 0) return undefined;
  // The last block may be short.
  return `${formatSize(Math.min(bytesTotal ?? Infinity, blocks * blockSizeBytes))} ${state}`;
}

function sentText({ bytesArrived }: Snapshot): string {
  return `${formatSize(Math.floor(bytesArrived))} sent`;
}

/** How much smaller blocks are on the line than on the disk, zeros included. */
function ratioText({ counters, blockSizeBytes, bytesWire }: Snapshot): string | undefined {
  const ratio = ((counters.sent + counters.zero) * blockSizeBytes) / Math.max(1, bytesWire);
  return bytesWire > 0 && ratio >= RATIO_MIN ? `ratio ${ratio.toFixed(1)}` : undefined;
}

function etaText({ bytesTotal, secondsLeft }: Snapshot): string | undefined {
  if (bytesTotal === null) return undefined;
  return secondsLeft === null ? 'ETA unknown' : `ETA ${formatDuration(secondsLeft * 1000)}`;
}
