/** The one retry layer: what is tried again, after how long, and when it ends. */
import type { Clock } from '../common/clock.ts';
import { TransferError, type ErrorCode } from '../common/errors.ts';
import { retryDelayMs } from '../common/retry.ts';
import { formatDuration } from '../common/units.ts';

/** A block whose digest does not match is sent three times; then memory or a disk is broken, not luck. */
export const CORRUPT_ATTEMPTS_MAX = 3;
/** Errors of the target in a row, without any block becoming durable between them. */
export const TARGET_ERRORS_MAX = 3;

export interface AttemptsOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** How long to go on without any progress. */
  readonly retryForMs: number;
  /** Told of each failure that will be tried again. */
  readonly onRetry: (error: TransferError, delayMs: number) => void;
}

/** What a sender does about failures, shared by all its lanes. */
export class Attempts {
  readonly #options: AttemptsOptions;
  #lastProgressMs: number;
  /** Attempts under way, their pauses included. */
  #running = 0;
  #targetErrors = 0;
  /** Counts up only: tells an attempt whether an error was counted since it began. */
  #targetErrorsEver = 0;

  constructor(options: AttemptsOptions) {
    this.#options = options;
    this.#lastProgressMs = options.clock.monotonicMs();
  }

  /** Something became durable, or the receiver was reached for the first time: patience starts anew. */
  noteProgress(): void {
    this.#lastProgressMs = this.#options.clock.monotonicMs();
    this.#targetErrors = 0;
  }

  /**
   * Tries until it succeeds, fails for good, or there was no progress for too long.
   * @param attempt is told how many attempts failed before it and by what.
   * @throws TransferError the last failure; `no-progress` (exit 6) after `retryForMs`.
   */
  async run<Result>(
    signal: AbortSignal,
    attempt: (failure: TransferError | undefined) => Promise<Result>,
  ): Promise<Result> {
    // Patience is about the receiver: time in which nothing was asked of it, as while a pipe is silent, is no
    // time without progress.
    if (this.#running === 0) this.#lastProgressMs = this.#options.clock.monotonicMs();
    this.#running++;
    try {
      return await this.#tryUntil(signal, attempt);
    } finally {
      this.#running--;
    }
  }

  async #tryUntil<Result>(
    signal: AbortSignal,
    attempt: (failure: TransferError | undefined) => Promise<Result>,
  ): Promise<Result> {
    let failure: TransferError | undefined;
    let corruptCount = 0;
    for (let failureCount = 0; ;) {
      const targetErrorsBefore = this.#targetErrorsEver;
      try {
        return await attempt(failure);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof TransferError)) throw error;
        failure = error;
        failureCount++;
        if (isCorrupt(error.code)) corruptCount++;
        if (error.code === 'io-error') this.#noteTargetError(targetErrorsBefore);
        this.#giveUpIfHopeless(error, corruptCount);
        const delayMs = retryDelayMs(failureCount, this.#options.random(), error.retryAfterSeconds);
        this.#options.onRetry(error, delayMs);
        await this.#options.clock.sleep(delayMs, signal);
      }
    }
  }

  /** One failed write fails all that were under way with it: together they are one error of the target. */
  #noteTargetError(targetErrorsBefore: number): void {
    if (this.#targetErrorsEver !== targetErrorsBefore) return;
    this.#targetErrorsEver++;
    this.#targetErrors++;
  }

  #giveUpIfHopeless(error: TransferError, corruptCount: number): void {
    if (isCorrupt(error.code)) {
      if (corruptCount >= CORRUPT_ATTEMPTS_MAX) throw error;
      return;
    }
    if (error.code === 'io-error') {
      if (this.#targetErrors < TARGET_ERRORS_MAX) return;
      throw new TransferError('io-error', `the target fails again and again: ${error.message}`, {
        cause: error,
        hint: 'check the disk on the receiver; what is durable stays, the same command goes on',
      });
    }
    if (error.kind !== 'transient') throw error;
    const waitedMs = this.#options.clock.monotonicMs() - this.#lastProgressMs;
    if (waitedMs < this.#options.retryForMs) return;
    throw new TransferError(
      'no-progress',
      `gave up after ${formatDuration(waitedMs)} without progress: ${error.message}`,
      {
        cause: error,
        hint: 'run the same command again to go on',
      },
    );
  }
}

/** Sent once more, a few times: a flipped bit somewhere between the disk and the receiver's memory. */
function isCorrupt(code: ErrorCode): boolean {
  return code === 'digest-mismatch' || code === 'length-mismatch' || code === 'decode-failed';
}
