/** A model of a line on which the jobs of a table are copied: time passes only here, nothing is real. */
import assert from 'node:assert/strict';
import { PAUSE_MS_MAX, Scheduler, type Queued, type SchedulerOptions } from '../../fleet/scheduler.ts';
import type { Prng } from '../support/prng.ts';

export interface ModelJob extends Queued {
  readonly bytes: number;
  /** How many attempts end before the copy is complete: each by something that may pass. */
  interruptions: number;
  /** It can never be copied. */
  readonly isHopeless: boolean;
}

export interface ModelOptions extends Omit<SchedulerOptions, 'random'> {
  readonly lineBytesPerMs: number;
}

/** Random machines, some of them busier than others, and disks of very different sizes. */
export function randomJobs(random: Prng, count: number): ModelJob[] {
  const hosts = 1 + random.below(60);
  return Array.from({ length: count }, (_, at) => ({
    key: `job${at}`,
    // Half of them have a low number: those machines are in many jobs.
    hosts: [`old${random.below(1 + random.below(hosts))}`, `vm${random.below(1 + random.below(hosts))}`],
    bytes: 1 + random.below(10_000),
    interruptions: random.below(4) === 0 ? random.below(4) : 0,
    isHopeless: random.below(20) === 0,
  }));
}

interface Running {
  readonly job: ModelJob;
  left: number;
  /** It ends when so much is left. */
  readonly stopsAt: number;
}

/** What survives a killed run. */
export class ModelJournal {
  readonly results = new Map<string, 'complete' | 'failed'>();
  readonly left = new Map<string, number>();
}

/** A run from its start until nothing is left to do, or until it is killed. */
export class ModelRun {
  nowMs = 0;
  readonly starts = new Map<string, number>();
  readonly #jobs: ReadonlyMap<string, ModelJob>;
  readonly #options: ModelOptions;
  readonly #random: Prng;
  readonly #journal: ModelJournal;
  readonly #scheduler: Scheduler;
  readonly #running = new Map<string, Running>();

  constructor(jobs: readonly ModelJob[], options: ModelOptions, random: Prng, journal: ModelJournal) {
    this.#jobs = new Map(jobs.map((job) => [job.key, job]));
    this.#options = options;
    this.#random = random;
    this.#journal = journal;
    const open = jobs.filter(({ key }) => journal.results.get(key) !== 'complete');
    for (const { key } of open) journal.results.delete(key);
    this.#scheduler = new Scheduler(open, { ...options, random: () => random.below(1000) / 1000 });
  }

  /** @param killAtMs no end is recorded after it. @returns whether everything is over. */
  run(killAtMs = Infinity): boolean {
    while (!this.#scheduler.isOver) {
      for (const key of this.#scheduler.start(this.nowMs)) this.#begin(key);
      assert.deepEqual(this.#scheduler.start(this.nowMs), [], 'all that may run was started at once');
      this.#checkLimits();
      const stepMs = Math.min(
        this.#untilEndMs(),
        (this.#scheduler.nextMs(this.nowMs) ?? Infinity) - this.nowMs,
      );
      assert(stepMs < Infinity, 'something runs, or a pause ends');
      if (this.nowMs + stepMs > killAtMs) {
        this.#pass(killAtMs - this.nowMs);
        for (const [key, { left }] of this.#running) this.#journal.left.set(key, left);
        return false;
      }
      this.#pass(stepMs);
      this.#endSome();
    }
    return true;
  }

  get #rate(): number {
    return this.#options.lineBytesPerMs / this.#running.size;
  }

  #begin(key: string): void {
    const job = this.#jobs.get(key);
    assert(job !== undefined && !this.#running.has(key), `${key} is started once at a time`);
    assert.equal(this.#journal.results.get(key), undefined, `${key} is over`);
    this.starts.set(key, (this.starts.get(key) ?? 0) + 1);
    const left = this.#journal.left.get(key) ?? job.bytes;
    const isCut = job.isHopeless || job.interruptions > 0;
    this.#running.set(key, { job, left, stopsAt: isCut ? left * (this.#random.below(100) / 100) : 0 });
  }

  #untilEndMs(): number {
    const each = [...this.#running.values()].map(({ left, stopsAt }) => (left - stopsAt) / this.#rate);
    return Math.min(Infinity, ...each);
  }

  #pass(ms: number): void {
    const bytes = this.#running.size === 0 ? 0 : ms * this.#rate;
    for (const running of this.#running.values()) running.left -= bytes;
    this.nowMs += ms;
  }

  #endSome(): void {
    for (const [key, { job, left, stopsAt }] of this.#running) {
      if (left - stopsAt > 1e-6) continue;
      this.#running.delete(key);
      const { results } = this.#journal;
      this.#journal.left.set(key, Math.max(0, left));
      if (job.isHopeless && this.#random.below(2) === 0) {
        assert.equal(this.#scheduler.ended(key, { how: 'over' }, this.nowMs), 'over');
        results.set(key, 'failed');
      } else if (job.isHopeless || job.interruptions > 0) {
        job.interruptions--;
        const end = { how: 'again', hasProgressed: !job.isHopeless && stopsAt > 0 } as const;
        const verdict = this.#scheduler.ended(key, end, this.nowMs);
        assert.notEqual(verdict, 'over');
        if (verdict === 'given-up') results.set(key, 'failed');
        else if (typeof verdict === 'object') assert(verdict.pauseMs > 0 && verdict.pauseMs <= PAUSE_MS_MAX);
      } else {
        assert.equal(this.#scheduler.ended(key, { how: 'over' }, this.nowMs), 'over');
        results.set(key, 'complete');
      }
    }
  }

  /** Counted here, not by the scheduler. */
  #checkLimits(): void {
    const { atOnceMax, atOncePerHostMax } = this.#options;
    assert(this.#running.size <= atOnceMax, `${this.#running.size} at once`);
    assert.equal(this.#scheduler.runningCount, this.#running.size);
    const busy = new Map<string, number>();
    for (const { job } of this.#running.values()) {
      for (const host of job.hosts) busy.set(host, (busy.get(host) ?? 0) + 1);
    }
    for (const [host, count] of busy) assert(count <= atOncePerHostMax, `${count} at ${host}`);
  }
}
