/** How far a job is: what its ddt-send says, in the form in which it is shown. */
import type { JobRecord, JobResult } from './fleet-journal.ts';
import type { Job } from './job.ts';

export type JobPhase = 'waiting' | 'running' | 'paused' | JobResult;

export class JobState {
  readonly job: Job;
  /** Attempts of this run. */
  attempts = 0;
  phase: JobPhase;
  /** Why the last attempt ended, or why there is no progress now. */
  reason: string | undefined;
  /** Name of the receipt's file, of an earlier run. */
  readonly receipt: string | undefined;
  /** It was over when this run began. */
  readonly isEarlier: boolean;
  bytesTotal: number | null;
  bytesArrived = 0;
  bytesPerSecond = 0;
  secondsLeft: number | null = null;
  percent: number | null = null;
  #durable = 0;
  #durableBefore = 0;

  constructor(job: Job, record: JobRecord | undefined) {
    this.job = job;
    this.phase = record?.result ?? 'waiting';
    this.isEarlier = record !== undefined;
    this.reason = record?.reason ?? undefined;
    this.receipt = record?.receipt ?? undefined;
    this.bytesTotal = record?.bytes ?? null;
    if (this.result === 'complete' || this.result === 'unproven') this.bytesArrived = this.bytesTotal ?? 0;
  }

  /** undefined: it is not over. */
  get result(): JobResult | undefined {
    const { phase } = this;
    return phase === 'complete' || phase === 'unproven' || phase === 'failed' ? phase : undefined;
  }

  /** It has failed before, and is tried again. */
  reopen(): void {
    this.phase = 'waiting';
  }

  begin(): void {
    this.attempts++;
    this.phase = 'running';
    this.reason = undefined;
  }

  /** @param event a line of `--progress json`. */
  take(event: Readonly<Record<string, unknown>>): void {
    const number = (name: string): number | null => {
      const value = event[name];
      return typeof value === 'number' && Number.isFinite(value) ? value : null;
    };
    if (event['event'] === 'waiting' && typeof event['message'] === 'string') this.reason = event['message'];
    if (event['event'] === 'progress') {
      this.reason = undefined;
      this.bytesArrived = number('bytesArrived') ?? 0;
      this.bytesPerSecond = number('bytesPerSecond') ?? 0;
      this.secondsLeft = number('secondsLeft');
      this.percent = number('percent');
      this.#durable = Math.max(this.#durable, number('blocksDurable') ?? 0);
    }
    this.bytesTotal = number('bytesTotal') ?? this.bytesTotal;
  }

  /** Whether more is durable than after the last attempt. */
  hasProgressed(): boolean {
    const hasMore = this.#durable > this.#durableBefore;
    this.#durableBefore = this.#durable;
    return hasMore;
  }

  pause(reason: string): void {
    this.#rest('paused');
    this.reason = reason;
  }

  /** With the whole fleet. */
  interrupt(): void {
    this.#rest('waiting');
  }

  finish(result: JobResult, reason: string | undefined): void {
    this.#rest(result);
    this.reason = reason;
    if (result !== 'failed') this.bytesArrived = this.bytesTotal ?? this.bytesArrived;
  }

  #rest(phase: JobPhase): void {
    this.phase = phase;
    this.bytesPerSecond = 0;
    this.secondsLeft = null;
  }
}
