/** The one retry layer: what is tried again, after how long, and when it ends. */
import type { Clock } from '../common/clock.ts';
import { TransferError, type ErrorCode } from '../common/errors.ts';
import { retryDelayMs } from '../common/retry.ts';
import { formatDuration } from '../common/units.ts';

/** A block whose digest does not match is sent three times; then memory or a disk is broken, not luck. */
export const CORRUPT_ATTEMPTS_MAX = 3;
/** Epochs of the receiver that errors of the target ended in a row, without any block becoming durable between them. */
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
  #targetErrors = 0;
  readonly #failedEpochs = new Set<unknown>();

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
    let failure: TransferError | undefined;
    let corruptCount = 0;
    for (let failureCount = 0; ;) {
      try {
        return await attempt(failure);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof TransferError)) throw error;
        failure = error;
        failureCount++;
        if (isCorrupt(error.code)) corruptCount++;
        this.#giveUpIfHopeless(error, corruptCount);
        const delayMs = retryDelayMs(failureCount, this.#options.random(), error.retryAfterSeconds);
        this.#options.onRetry(error, delayMs);
        await this.#options.clock.sleep(delayMs, signal);
      }
    }
  }

  /** One error of the target fails all writes that are under way: each lane hears of it, and it counts once. */
  #isCounted({ details: { epoch } }: TransferError): boolean {
    if (epoch === undefined) return false;
    if (this.#failedEpochs.has(epoch)) return true;
    this.#failedEpochs.add(epoch);
    return false;
  }

  #giveUpIfHopeless(error: TransferError, corruptCount: number): void {
    if (isCorrupt(error.code)) {
      if (corruptCount >= CORRUPT_ATTEMPTS_MAX) throw error;
      return;
    }
    if (error.code === 'io-error') {
      if (this.#isCounted(error)) return;
      if (++this.#targetErrors < TARGET_ERRORS_MAX) return;
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
