/** The one retry layer: what is tried again, after how long, and when it ends. */
import type { Clock } from '../../common/clock.ts';
import { TransferError, type ErrorCode } from '../../common/errors.ts';
import { RECONNECT_DELAY_MS_MAX, RETRY_DELAY_MS_MAX, retryDelayMs } from './retry-delay.ts';
import { formatDuration } from '../../common/units.ts';

/** A block whose digest does not match is sent three times; then memory or a disk is broken, not luck. */
export const CORRUPT_ATTEMPTS_MAX = 3;
/** Errors of the target in a row, without any block becoming durable between them. */
export const TARGET_ERRORS_MAX = 3;

/** After so long without an answer to anybody, one of them means that the line was down and is back. */
const SILENCE_MS = 5000;
/** No attempt without a byte on the line takes so long, unless this process, or the machine, stood still. */
const ATTEMPT_MS_MAX = 90_000;

export interface RetriesOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** How long to go on without any progress, from the first failure. */
  readonly retryForMs: number;
  /**
   * Told of each failure that will be tried again, and of when that will end; Infinity where not time
   * decides.
   */
  readonly onRetry: (error: TransferError, delayMs: number, giveUpInMs: number) => void;
}

/** What a sender does about failures, shared by all its lanes. */
export class Retries {
  readonly #options: RetriesOptions;
  /** The first failure since there was progress; undefined while nothing fails. */
  #failingSinceMs: number | undefined;
  /** What has failed and not succeeded since. */
  #failing = 0;
  #lastAnswerMs: number;
  /** Of those who wait for the line. */
  readonly #pauses = new Set<AbortController>();
  #targetErrors = 0;
  /** Counts up only: tells an attempt whether an error was counted since it began. */
  #targetErrorsEver = 0;

  constructor(options: RetriesOptions) {
    this.#options = options;
    this.#lastAnswerMs = options.clock.monotonicMs();
  }

  /** Something became durable, or the receiver was reached for the first time: patience starts anew. */
  noteProgress(): void {
    this.#failingSinceMs = undefined;
    this.#targetErrors = 0;
  }

  /** The receiver has said something, whatever: who waits for the line need not wait any longer. */
  noteAnswer(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const silentMs = nowMs - this.#lastAnswerMs;
    this.#lastAnswerMs = nowMs;
    // While answers come, what fails all the same has another reason.
    if (silentMs >= SILENCE_MS) for (const pause of this.#pauses) pause.abort();
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
    let failure: TransferError | undefined;
    let corruptCount = 0;
    let failureCount = 0;
    try {
      for (;;) {
        const targetErrorsBefore = this.#targetErrorsEver;
        const beganMs = this.#options.clock.monotonicMs();
        try {
          return await attempt(failure);
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof TransferError)) throw error;
          failure = error;
          if (failureCount++ === 0) this.#failing++;
          this.#failingSinceMs ??= this.#options.clock.monotonicMs();
          if (isCorrupt(error.code)) corruptCount++;
          if (error.code === 'io-error') this.#noteTargetError(targetErrorsBefore);
          this.#giveUpIfHopeless(error, corruptCount, beganMs);
          await this.#pause(error, failureCount, signal);
        }
      }
    } finally {
      if (failureCount > 0 && --this.#failing === 0) this.#failingSinceMs = undefined;
    }
  }

  async #pause(error: TransferError, failureCount: number, signal: AbortSignal): Promise<void> {
    const { clock, random, onRetry } = this.#options;
    const isLine = error.code === 'connection-failed';
    const giveUpInMs = error.kind === 'transient' ? this.#giveUpInMs() : Infinity;
    const wantedMs = retryDelayMs(failureCount, random(), {
      delayMsMax: isLine ? RECONNECT_DELAY_MS_MAX : RETRY_DELAY_MS_MAX,
      retryAfterSeconds: error.retryAfterSeconds,
    });
    // The last attempt is made when patience ends.
    const delayMs = Math.min(wantedMs, giveUpInMs);
    onRetry(error, delayMs, giveUpInMs);
    const pause = new AbortController();
    if (isLine) this.#pauses.add(pause);
    try {
      await clock.sleep(delayMs, AbortSignal.any([signal, pause.signal]));
    } catch (reason) {
      signal.throwIfAborted();
      if (!pause.signal.aborted) throw reason;
    } finally {
      this.#pauses.delete(pause);
    }
  }

  #giveUpInMs(): number {
    const nowMs = this.#options.clock.monotonicMs();
    return Math.max(0, (this.#failingSinceMs ?? nowMs) + this.#options.retryForMs - nowMs);
  }

  /** One failed write fails all that were under way with it: together they are one error of the target. */
  #noteTargetError(targetErrorsBefore: number): void {
    if (this.#targetErrorsEver !== targetErrorsBefore) return;
    this.#targetErrorsEver++;
    this.#targetErrors++;
  }

  #giveUpIfHopeless(error: TransferError, corruptCount: number, beganMs: number): void {
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
    if (this.#giveUpInMs() > 0) return;
    const nowMs = this.#options.clock.monotonicMs();
    const waitedMs = nowMs - (this.#failingSinceMs ?? nowMs);
    // It was begun in time, and whoever was suspended meanwhile has not really tried yet.
    const tookMs = nowMs - beganMs;
    if (tookMs > ATTEMPT_MS_MAX && waitedMs - tookMs < this.#options.retryForMs) return;
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
