/** What the benchmark measured, as a table in Markdown, and on what. */
import { readFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { formatSize } from '../common/units.ts';
import { run } from './both-sides.ts';

/** A disk that is to be copied; `target` does not exist before a measurement. */
export interface Job {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

export interface Measurement {
  readonly seconds: number;
  /** Where it depends on the run: what is known about the target when it is through. */
  readonly proof?: string;
  readonly senderBytes?: number;
  readonly receiverBytes?: number;
}

/** One way to do the job, and how long it took each time. */
export interface Row {
  readonly name: string;
  /** What is known about the target when it is through, unless the measurement knows better. */
  readonly proof: string;
  readonly measure: (job: Job) => Promise<Measurement>;
  readonly measurements: Measurement[];
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? NaN) + high) / 2;
}

function formatRow(row: Row, first: Row, sizeBytes: number): string {
  const rates = row.measurements.map(({ seconds }) => sizeBytes / 1e6 / seconds);
  const span = `${Math.min(...rates).toFixed(0)}–${Math.max(...rates).toFixed(0)}`;
  const ratios = row.measurements.map(
    ({ seconds }, at) => seconds / (first.measurements[at]?.seconds ?? NaN),
  );
  const peak = (name: 'senderBytes' | 'receiverBytes'): string => {
    const bytes = row.measurements.map((measurement) => measurement[name] ?? NaN);
    return bytes.some(Number.isNaN) ? '' : formatSize(Math.max(...bytes));
  };
  const proof = row.measurements[0]?.proof ?? row.proof;
  const figures = [median(rates).toFixed(0), span, median(ratios).toFixed(2)];
  const cells = [row.name, ...figures, proof, peak('senderBytes'), peak('receiverBytes')];
  return `| ${cells.join(' | ')} |`;
}

/** Rates in units of 10^6 bytes a second; ratios are of the same round, then their median. */
export function formatTable(rows: readonly Row[], sizeBytes: number): string[] {
  const [first] = rows;
  if (first === undefined) return [];
  return [
    '| | MB/s, median | min–max | ddt is × as fast | proof | peak memory: sender | receiver |',
    '|---|---:|---:|---:|---|---:|---:|',
    ...rows.map((row) => formatRow(row, first, sizeBytes)),
  ];
}

/** One line: processors, system, runtime, file system. */
export async function describeMachine(job: Job): Promise<string> {
  const [cpu] = cpus();
  const fileSystem = (await run('df', ['--output=fstype', job.folder], job.signal)).lines.at(-1) ?? 'unknown';
  const distribution = /^PRETTY_NAME="(.*)"$/m.exec(
    await readFile('/etc/os-release', 'utf8').catch(() => ''),
  )?.[1];
  const system = `${distribution ?? 'Linux'}, kernel ${release()}, Node ${process.versions.node}`;
  const cache = process.getuid?.() === 0 ? 'caches dropped' : "the source's cache dropped";
  return `${cpus().length} × ${cpu?.model ?? 'unknown'}; ${system}; ${fileSystem}; ${cache} before each run.`;
}
