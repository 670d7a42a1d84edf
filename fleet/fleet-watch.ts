/** `--web`: what a browser, and programs that collect figures, may see of a running fleet. */
import type { Clock } from '../common/clock.ts';
import { printable } from '../common/text.ts';
import { formatDuration, formatRate, formatSize } from '../common/units.ts';
import { EventStream } from '../common/watch/event-stream.ts';
import type { BoardJob, FleetBoard } from '../common/watch/fleet-board.ts';
import { metricsRoute, processMetrics, type Metric } from '../common/watch/metrics.ts';
import { pageRoutes } from '../common/watch/page-routes.ts';
import type { WatchAddress } from '../common/watch/watch-address.ts';
import { startWatchServer, type WatchServer } from '../common/watch/watch-server.ts';
import { countsText, totalsOf } from './board-text.ts';
import type { JobState } from './job-state.ts';

/** A page asks once a second: it gets the last state within this time. */
const FINISH_MS = 2000;
const PHASES = ['running', 'waiting', 'complete', 'unproven', 'failed'] as const;

export class FleetWatch implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #events = new EventStream();
  #states: readonly JobState[] = [];
  #status: number | undefined;
  #server: WatchServer | undefined;

  private constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws TransferError `listen-failed`. */
  static async open(address: WatchAddress, clock: Clock): Promise<FleetWatch> {
    const watch = new FleetWatch(clock);
    const board = {
      path: '/fleet',
      answer: () => ({
        type: 'application/json',
        body: JSON.stringify(boardOf(watch.#states, watch.#status)),
      }),
    };
    const metrics = metricsRoute(() => metricsOf(watch.#states));
    const routes = [...(await pageRoutes('/fleet.html')), board, ...watch.#events.routes, metrics];
    watch.#server = await startWatchServer(address, routes);
    return watch;
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  begin(states: readonly JobState[]): void {
    this.#states = states;
  }

  /** @param event as `--progress json` writes it. */
  add(event: Readonly<Record<string, unknown>>): void {
    this.#events.add(event);
  }

  /** Nothing changes any more. @param status exit status. */
  end(status: number): void {
    this.#status = status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const asked = this.#status === undefined ? undefined : this.#clock.sleep(FINISH_MS);
    await Promise.all([asked, this.#events.finish(FINISH_MS, this.#clock)]);
    await this.#server?.[Symbol.asyncDispose]();
  }
}

function boardOf(states: readonly JobState[], status: number | undefined): FleetBoard {
  const totals = totalsOf(states);
  const { bytesTotal, bytesArrived, bytesPerSecond, secondsLeft, running } = totals;
  const of = bytesTotal === null ? '' : ` of ${formatSize(bytesTotal)}`;
  const rate = running === 0 ? '' : `, ${formatRate(bytesPerSecond)}`;
  const eta = secondsLeft === null ? 'ETA unknown' : `ETA ${formatDuration(secondsLeft * 1000)}`;
  return {
    headline: `${countsText(totals)} of ${totals.count}`,
    percent: bytesTotal === null ? null : percentOf(bytesArrived, bytesTotal),
    amount: `${formatSize(Math.floor(bytesArrived))}${of}${rate}`,
    eta: running === 0 ? '' : eta,
    ...(status !== undefined && { status }),
    jobs: states.map(boardJobOf),
  };
}

function boardJobOf(state: JobState): BoardJob {
  const { job, phase, bytesTotal, bytesArrived, bytesPerSecond, secondsLeft, reason } = state;
  const isRunning = phase === 'running';
  const size = bytesTotal === null ? '' : formatSize(bytesTotal);
  const hasBegun = bytesTotal !== null && (isRunning || phase === 'paused');
  return {
    name: job.name,
    source: printable(job.source.text),
    target: printable(job.target.text),
    phase,
    percent: phase === 'complete' ? 100 : state.percent,
    amount: hasBegun ? `${formatSize(Math.floor(bytesArrived))} of ${size}` : size,
    rate: isRunning && bytesPerSecond > 0 ? formatRate(bytesPerSecond) : '',
    eta: isRunning && secondsLeft !== null ? formatDuration(secondsLeft * 1000) : '',
    note: printable(reason ?? ''),
  };
}

function percentOf(part: number, total: number): number {
  return total === 0 ? 0 : Math.floor((Math.min(part, total) * 100) / total);
}

function metricsOf(states: readonly JobState[]): readonly Metric[] {
  const totals = totalsOf(states);
  const one = (name: string, help: string, value: number | undefined): Metric => {
    return { name: `ddt_fleet_${name}`, help, type: 'gauge', samples: [{ value }] };
  };
  return [
    {
      name: 'ddt_fleet_jobs',
      help: 'Jobs of the table by their state; those in a pause wait',
      type: 'gauge',
      samples: PHASES.map((phase) => ({ labels: { state: phase }, value: totals[phase] })),
    },
    one('arrived_bytes', 'Of the sources, at their receivers', Math.floor(totals.bytesArrived)),
    one('source_bytes', 'Of all sources, when all sizes are known', totals.bytesTotal ?? undefined),
    ...processMetrics('ddt_fleet'),
  ];
}
