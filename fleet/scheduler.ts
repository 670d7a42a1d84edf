/**
 * Which jobs run: a state machine that is driven by the time and by the ends of attempts. Jobs are started in
 * the order of the table; what failed for a while comes again behind those that wait. Pure.
 */

export interface Queued {
  readonly key: string;
  /** The machines that it keeps busy. */
  readonly hosts: readonly string[];
}

export interface SchedulerOptions {
  readonly atOnceMax: number;
  /** On each machine, as that of a source or of a target. */
  readonly atOncePerHostMax: number;
  /** In a row, without anything that became durable. */
  readonly attemptsMax: number;
  /** Before the second attempt; doubles with each further one. */
  readonly pauseMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** How an attempt has ended. `again`: what stopped it may pass. */
export type AttemptEnd =
  | { readonly how: 'over' }
  | { readonly how: 'again'; readonly hasProgressed: boolean };

/** What becomes of the job. */
export type Verdict = 'over' | 'given-up' | { readonly pauseMs: number };

export const PAUSE_MS_MAX = 1_800_000;
/** A job that waits for two busy machines is overtaken this often; then both are kept for it. */
export const OVERTAKEN_MAX = 8;

interface Waiting extends Queued {
  /** Not before. */
  readonly dueMs: number;
  overtaken: number;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  #waiting: Waiting[];
  readonly #running = new Map<string, Queued>();
  readonly #busy = new Map<string, number>();
  readonly #failures = new Map<string, number>();
  #isStopped = false;

  constructor(jobs: readonly Queued[], options: SchedulerOptions) {
    this.#options = options;
    this.#waiting = jobs.map((job) => ({ ...job, dueMs: -Infinity, overtaken: 0 }));
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** Nothing runs, and nothing will. */
  get isOver(): boolean {
    return this.#running.size === 0 && (this.#isStopped || this.#waiting.length === 0);
  }

  /** When the next pause ends; undefined: no job is in one, or none could start then. */
  nextMs(nowMs: number): number | undefined {
    if (this.#isStopped || this.#running.size >= this.#options.atOnceMax) return undefined;
    const due = this.#waiting.map(({ dueMs }) => dueMs).filter((dueMs) => dueMs > nowMs);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /** @returns those that are to be started now; they count as running. */
  start(nowMs: number): readonly string[] {
    const started: string[] = [];
    const reserved = new Map<string, number>();
    const passed: Waiting[] = [];
    const waiting = this.#isStopped ? [] : this.#waiting.filter(({ dueMs }) => dueMs <= nowMs);
    for (const job of waiting) {
      if (this.#running.size >= this.#options.atOnceMax) break;
      const isFree = job.hosts.every((host) => this.#freeOn(host) > (reserved.get(host) ?? 0));
      if (isFree) {
        this.#begin(job);
        started.push(job.key);
        const overtaken = passed.filter(({ hosts }) => hosts.some((host) => job.hosts.includes(host)));
        for (const each of overtaken) each.overtaken++;
      } else if (job.overtaken < OVERTAKEN_MAX) passed.push(job);
      else for (const host of job.hosts) reserved.set(host, (reserved.get(host) ?? 0) + 1);
    }
    return started;
  }

  /** @throws Error for one that does not run. */
  ended(key: string, end: AttemptEnd, nowMs: number): Verdict {
    const job = this.#running.get(key);
    if (job === undefined) throw new Error(`${key} does not run`);
    this.#running.delete(key);
    for (const host of job.hosts) this.#busy.set(host, (this.#busy.get(host) ?? 0) - 1);
    if (end.how === 'over') return 'over';
    const failures = end.hasProgressed ? 1 : (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    if (failures >= this.#options.attemptsMax) return 'given-up';
    const pauseMs = this.#pauseMs(failures);
    this.#waiting.push({ ...job, dueMs: nowMs + pauseMs, overtaken: 0 });
    return { pauseMs };
  }

  /** No further job is started. */
  stop(): void {
    this.#isStopped = true;
  }

  #freeOn(host: string): number {
    return this.#options.atOncePerHostMax - (this.#busy.get(host) ?? 0);
  }

  #begin(job: Waiting): void {
    this.#waiting = this.#waiting.filter((each) => each !== job);
    this.#running.set(job.key, job);
    for (const host of job.hosts) this.#busy.set(host, (this.#busy.get(host) ?? 0) + 1);
  }

  /** From half of the time to all of it, so that those that failed together do not come again together. */
  #pauseMs(failures: number): number {
    const { pauseMs, random } = this.#options;
    const fullMs = Math.min(PAUSE_MS_MAX, pauseMs * 2 ** (failures - 1));
    return Math.round(fullMs * (0.5 + random() / 2));
  }
}
