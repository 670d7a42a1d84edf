/** Figures in the text format of Prometheus, for programs that collect them. Pure but for the process. */
import { VERSION } from '../protocol/version.ts';
import type { WatchRoute } from './watch-server.ts';

export interface Sample {
  /** Each with few values: a program keeps a series for each combination. */
  readonly labels?: Readonly<Record<string, string>>;
  /** undefined: nobody knows it now. */
  readonly value: number | undefined;
}

export interface Metric {
  /** In base units, which come last; a counter ends with `_total`. */
  readonly name: string;
  /** A sentence without a full stop. */
  readonly help: string;
  readonly type: 'gauge' | 'counter';
  readonly samples: readonly Sample[];
}

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export function formatMetrics(metrics: readonly Metric[]): string {
  return metrics
    .map(({ name, help, type, samples }) => {
      const lines = samples.flatMap(({ labels = {}, value }) =>
        value === undefined ? [] : [`${name}${labelsText(labels)} ${value}\n`],
      );
      return lines.length === 0 ? '' : `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
    })
    .join('');
}

/** @param collect called for each request. */
export function metricsRoute(collect: () => readonly Metric[]): WatchRoute {
  return { path: '/metrics', answer: () => ({ type: METRICS_TYPE, body: formatMetrics(collect()) }) };
}

/** Of this process, by the names that every program has for them. */
export function processMetrics(prefix: string): Metric[] {
  const cpu = process.cpuUsage();
  const startedAt = Math.round(performance.timeOrigin) / 1000;
  const one = (name: string, type: Metric['type'], help: string, value: number): Metric => ({
    name,
    help,
    type,
    samples: [{ value }],
  });
  return [
    {
      name: `${prefix}_info`,
      help: 'Always 1; the version is a label',
      type: 'gauge',
      samples: [{ labels: { version: VERSION }, value: 1 }],
    },
    one('process_start_time_seconds', 'gauge', 'When the process was started, since 1970', startedAt),
    one(
      'process_cpu_seconds_total',
      'counter',
      'Processor time, by all threads',
      (cpu.user + cpu.system) / 1e6,
    ),
    one('process_resident_memory_bytes', 'gauge', 'Memory of the process', process.memoryUsage.rss()),
  ];
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const all = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return all.length === 0 ? '' : `{${all.join(',')}}`;
}

function escaped(value: string): string {
  return value
    .toWellFormed()
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll('\n', String.raw`\n`);
}
