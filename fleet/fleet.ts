/** Runs the jobs of a table: starts what may run, divides the line, and records what has become of each. */
import { join } from 'node:path';
import type { Limit } from '../common/bandwidth/bandwidth-schedule.ts';
import { LIMIT_BYTES_PER_SECOND_MIN } from '../common/bandwidth/bandwidth-schedule.ts';
import type { Clock } from '../common/clock.ts';
import { EXIT_STATUS } from '../common/errors.ts';
import { Attempt, type AttemptResult } from './attempt.ts';
import { isFinished, type FleetJournal, type JobRecord } from './fleet-journal.ts';
import { hostsOf, type Job } from './job.ts';
import { JobState } from './job-state.ts';
import { Scheduler, type SchedulerOptions } from './scheduler.ts';
import type { SourceHosts } from './source-hosts.ts';

/** Nothing that is due is looked for less often. */
const LOOK_MS_MAX = 60_000;

/** What becomes visible of a fleet; each call follows the change of the state. */
export interface FleetEvents {
  onStarted(state: JobState): void;
  /** A line of `--progress json` of its ddt-send. */
  onEvent(state: JobState, event: Readonly<Record<string, unknown>>): void;
  /** It is tried again after a pause. */
  onPaused(state: JobState, reason: string, pauseMs: number): void;
  /** It was interrupted with the fleet. */
  onInterrupted(state: JobState): void;
  onOver(state: JobState): void;
}

export interface FleetOptions extends Omit<SchedulerOptions, 'random'> {
  readonly jobs: readonly Job[];
  readonly stateFolder: string;
  readonly sshCommand: string;
}

export interface FleetParts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly journal: FleetJournal;
  readonly hosts: SourceHosts;
  /** Of the whole line, at this moment. */
  readonly limit: () => Limit;
  readonly events: FleetEvents;
  /** Aborted by the first signal that interrupts. */
  readonly signal: AbortSignal;
}

export function receiptsFolderOf(stateFolder: string): string {
  return join(stateFolder, 'receipts');
}

export function logsFolderOf(stateFolder: string): string {
  return join(stateFolder, 'logs');
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #parts: FleetParts;
  readonly #states: ReadonlyMap<string, JobState>;
  readonly #scheduler: Scheduler;
  readonly #attempts = new Map<string, Attempt>();
  readonly #failure = Promise.withResolvers<never>();
  #wake = Promise.withResolvers<void>();

  /** @param records what is known of the jobs, by key. */
  constructor(options: FleetOptions, records: ReadonlyMap<string, JobRecord>, parts: FleetParts) {
    this.#options = options;
    this.#parts = parts;
    const states = options.jobs.map((job) => new JobState(job, records.get(job.key)));
    this.#states = new Map(states.map((state) => [state.job.key, state]));
    const open = states.filter(({ result }) => !isFinished(result));
    const queued = open.map(({ job }) => ({ key: job.key, hosts: hostsOf(job) }));
    this.#scheduler = new Scheduler(queued, { ...options, random: parts.random });
    for (const state of open) state.reopen();
    this.#failure.promise.catch(() => {});
  }

  /** In the order of the table. */
  get states(): readonly JobState[] {
    return [...this.#states.values()];
  }

  /** Resolves when nothing runs any more. @throws Error of the journal, or a bug; attempts are ended then. */
  async run(): Promise<void> {
    const { signal, clock } = this.#parts;
    const stop = (): void => this.#stop();
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    try {
      while (!this.#scheduler.isOver) {
        this.#startAll();
        const nowMs = clock.monotonicMs();
        const dueMs = this.#scheduler.nextMs(nowMs) ?? Infinity;
        const pause = new AbortController();
        const pauseMs = Math.max(0, Math.min(dueMs - nowMs, LOOK_MS_MAX));
        const paused = clock.sleep(pauseMs, pause.signal).catch(() => {});
        await Promise.race([this.#wake.promise, paused, this.#failure.promise]);
        pause.abort();
        this.#wake = Promise.withResolvers();
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#stop();
    }
  }

  /** To be called when the limit of the whole line has changed. */
  divideLine(): void {
    for (const attempt of this.#attempts.values()) attempt.setLimit(this.#share());
  }

  /** Equal parts for all that run; a copy needs more than nothing. */
  #share(): Limit {
    const limit = this.#parts.limit();
    if (limit === undefined) return undefined;
    const share = Math.floor(limit / Math.max(1, this.#scheduler.runningCount));
    return Math.max(LIMIT_BYTES_PER_SECOND_MIN, share);
  }

  #stop(): void {
    this.#scheduler.stop();
    for (const attempt of this.#attempts.values()) attempt.end();
    this.#wake.resolve();
  }

  #startAll(): void {
    const keys = this.#scheduler.start(this.#parts.clock.monotonicMs());
    // Those that run get less before the others get something.
    if (keys.length > 0) this.divideLine();
    for (const key of keys) {
      this.#runOnce(this.#stateOf(key)).catch((error: unknown) => this.#failure.reject(error));
    }
  }

  async #runOnce(state: JobState): Promise<void> {
    const { journal, events, clock, hosts } = this.#parts;
    const { job } = state;
    state.begin();
    const attempt = new Attempt(job, {
      clock,
      hosts,
      sshCommand: this.#options.sshCommand,
      receiptsFolder: receiptsFolderOf(this.#options.stateFolder),
      logsFolder: logsFolderOf(this.#options.stateFolder),
      limit: () => this.#share(),
      onEvent: (event) => {
        state.take(event);
        events.onEvent(state, event);
      },
      onReceipt: ({ name, status }) => {
        const result = status === EXIT_STATUS.verified ? 'complete' : 'unproven';
        const { bytesTotal: bytes } = state;
        journal.record(job, { result, status, reason: null, bytes, receipt: name });
      },
    });
    this.#attempts.set(job.key, attempt);
    events.onStarted(state);
    const result = await attempt.run();
    this.#attempts.delete(job.key);
    this.#settle(state, result);
    this.divideLine();
    this.#wake.resolve();
  }

  #settle(state: JobState, { status, reason = '', receiptStatus, mayPass }: AttemptResult): void {
    const { clock, events, journal, signal } = this.#parts;
    const { job } = state;
    const hasReceipt = receiptStatus !== undefined;
    const isInterrupted = signal.aborted && !hasReceipt && mayPass;
    const hasProgressed = state.hasProgressed();
    const end =
      mayPass && !hasReceipt ? ({ how: 'again', hasProgressed } as const) : ({ how: 'over' } as const);
    const verdict = this.#scheduler.ended(job.key, end, clock.monotonicMs());
    if (isInterrupted) {
      state.interrupt();
      events.onInterrupted(state);
    } else if (typeof verdict === 'object') {
      state.pause(reason);
      events.onPaused(state, reason, verdict.pauseMs);
    } else if (hasReceipt) {
      state.finish(receiptStatus === EXIT_STATUS.verified ? 'complete' : 'unproven', undefined);
      events.onOver(state);
    } else {
      const { bytesTotal: bytes } = state;
      journal.record(job, { result: 'failed', status: status ?? null, reason, bytes, receipt: null });
      state.finish('failed', reason);
      events.onOver(state);
    }
  }

  #stateOf(key: string): JobState {
    const state = this.#states.get(key);
    if (state === undefined) throw new Error(`there is no job ${key}`);
    return state;
  }
}

/** The exit status of a fleet that was not interrupted. */
export function fleetStatus(states: readonly JobState[]): number {
  if (states.some(({ result }) => result === 'failed')) return EXIT_STATUS.someFailed;
  return states.every(({ result }) => result === 'complete') ? EXIT_STATUS.verified : EXIT_STATUS.unproven;
}
