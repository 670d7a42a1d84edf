/** The results of a benchmark as a Markdown table, and the machine that it ran on. */
import { readFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { formatSize } from '../../common/units.ts';
import { runTool } from '../run-script.ts';
import type { Copy, Peer } from './copy.ts';

/** One tool, and its copies by round; a tool that was stopped gets no further rounds. */
export interface Row {
  readonly peer: Peer;
  readonly copies: readonly Copy[];
}

/** NaN if there are none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? NaN) + high) / 2;
}

/** The name of a tool in a cell of a table. */
export function formatName(name: string): string {
  return name.replaceAll('|', String.raw`\|`);
}

/** Rates are in 10^6 bytes per second; those of a copy that was stopped are upper bounds. */
function formatRow({ peer, copies }: Row, first: Row | undefined, sizeBytes: number): string {
  const rates = copies.map(({ seconds }) => sizeBytes / 1e6 / seconds);
  const isComplete = copies.every((copy) => copy.isComplete);
  const ratios = copies.flatMap(({ seconds }, round) => {
    const ours = first?.copies[round];
    return ours === undefined ? [] : [seconds / ours.seconds];
  });
  const peak = (name: 'senderBytes' | 'receiverBytes'): string => {
    const bytes = copies.flatMap((copy) => copy[name] ?? []);
    return bytes.length === 0 ? '' : formatSize(Math.max(...bytes));
  };
  const [most, least] = isComplete ? ['', ''] : ['< ', '> '];
  const cells = [
    formatName(peer.name),
    `${most}${median(rates).toFixed(0)}`,
    isComplete ? `${Math.min(...rates).toFixed(0)}–${Math.max(...rates).toFixed(0)}` : '',
    `${least}${median(copies.map(({ seconds }) => seconds)).toFixed(1)}`,
    ratios.length === 0 ? '' : `${least}${median(ratios).toFixed(2)}`,
    median(copies.map(({ cpuSeconds }) => cpuSeconds)).toFixed(1),
    ...[0, 1].map((end) => formatSeconds(median(copies.map(({ endSeconds }) => endSeconds?.[end] ?? NaN)))),
    isComplete ? peer.proof : 'stopped',
    peak('senderBytes'),
    peak('receiverBytes'),
  ];
  return `| ${cells.join(' | ')} |`;
}

function formatSeconds(seconds: number): string {
  return Number.isNaN(seconds) ? '' : seconds.toFixed(1);
}

/** Everything but the ranges and the peaks is a median; ratios to `first` are taken round by round. */
export function formatTable(rows: readonly Row[], first: Row | undefined, sizeBytes: number): string[] {
  return [
    '| | MB/s | min–max | seconds | ddt is × as fast | CPU s | near | far | proof | peak memory: sender ' +
      '| receiver |',
    '|---|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|',
    ...rows.map((row) => formatRow(row, first, sizeBytes)),
  ];
}

/** One line: processors, system, runtime, file system. */
export async function describeMachine(folder: string, signal: AbortSignal): Promise<string> {
  const [cpu] = cpus();
  const fileSystem =
    (await runTool('df', ['--output=fstype', folder], signal)).split('\n').at(-2) ?? 'unknown';
  const distribution = /^PRETTY_NAME="(.*)"$/m.exec(
    await readFile('/etc/os-release', 'utf8').catch(() => ''),
  )?.[1];
  const system = `${distribution ?? 'Linux'}, kernel ${release()}, Node ${process.versions.node}`;
  return `${cpus().length} × ${cpu?.model ?? 'unknown'}; ${system}; ${fileSystem}.`;
}
