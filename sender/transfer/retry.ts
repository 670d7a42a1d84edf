/** The one retry layer: what is tried again, after how long, and when to give up. */
import type { Clock } from '../../common/clock.ts';
import { TransferError, type ErrorCode } from '../../common/errors.ts';
import { formatDuration } from '../../common/units.ts';
import { FullTarget } from './full-target.ts';

/**
 * A block whose digest does not match is sent three times; after that it is broken memory or a broken disk,
 * not chance.
 */
export const CORRUPT_ATTEMPTS_MAX = 3;
/** Errors of the target in a row, without a block becoming durable in between. */
export const TARGET_ERRORS_MAX = 3;

/**
 * Without `--retry-for`, until the receiver has answered for the first time: a closed firewall or a mistyped
 * address is more likely then than an outage, and somebody is still watching.
 */
export const FIRST_CONTACT_MS = 120_000;

/** The first delay is at most half a second: most failures are cured by reconnecting. */
export const RETRY_DELAY_MS_MIN = 500;
/** A receiver that was busy, or full, is asked again within a minute. */
export const RETRY_DELAY_MS_MAX = 60_000;
/** Connecting costs next to nothing, and a line that is back should be used within seconds. */
export const RECONNECT_DELAY_MS_MAX = 10_000;
/** A receiver may ask for patience, but not for hours. */
export const RETRY_AFTER_SECONDS_MAX = 120;

/** After this long without a response to any lane, the next one means that the line was down and is back. */
const SILENCE_MS = 5000;
/** No attempt takes this long without a byte on the line, unless the process, or the machine, was stopped. */
const ATTEMPT_MS_MAX = 90_000;

export interface RetryDelayOptions {
  /** Unless the receiver asks for more; {@link RETRY_DELAY_MS_MAX} by default. */
  readonly delayMsMax?: number;
  /** What the receiver asks for. */
  readonly retryAfterSeconds?: number | undefined;
}

/**
 * Full jitter: uniform in [0, min(max, min·2^n)], so that lanes do not all come back at once.
 * @param failureCount failures in a row, from 1. @param random uniform in [0, 1).
 * @returns milliseconds; never less than `retryAfterSeconds`, which is clamped.
 */
export function retryDelayMs(
  failureCount: number,
  random: number,
  { delayMsMax = RETRY_DELAY_MS_MAX, retryAfterSeconds }: RetryDelayOptions = {},
): number {
  const ceiling = Math.min(delayMsMax, RETRY_DELAY_MS_MIN * 2 ** Math.min(failureCount - 1, 20));
  const jittered = random * ceiling;
  if (retryAfterSeconds === undefined || !(retryAfterSeconds > 0)) return jittered;
  return Math.max(jittered, Math.min(retryAfterSeconds, RETRY_AFTER_SECONDS_MAX) * 1000 * (1 + random * 0.2));
}

export interface RetriesOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** How long to keep trying without any progress, from the first failure. */
  readonly retryForMs: number;
  /** The same until the receiver has answered for the first time; `retryForMs` by default. */
  readonly firstContactForMs?: number | undefined;
  /** Called with each failure that is tried again, and when that ends; Infinity if time does not decide. */
  readonly onRetry: (error: TransferError, delayMs: number, giveUpInMs: number) => void;
  /** A target that had no room has some again. */
  readonly onRoom?: () => void;
}

/**
 * No answer takes longer than this (see http-receiver.ts), unless the process, or the machine, was stopped:
 * that time is not counted.
 */
const ANSWER_MS_MAX = 1_800_000;

/** Decides about failures for all lanes of a run. */
export class Retries {
  readonly #options: RetriesOptions;
  /** The receiver has answered in this run, whatever it said. */
  #isReached = false;
  /** The first failure since there was progress; undefined while nothing fails. */
  #failingSinceMs: number | undefined;
  /** Runs that have failed and not succeeded since. */
  #failingCount = 0;
  #lastResponseMs: number;
  /** Without progress, while the receiver answers that it is not done. */
  #waitedMs = 0;
  #waitingSeenMs: number | undefined;
  /** Of runs that wait for the line. */
  readonly #pauses = new Set<AbortController>();
  readonly #full = new FullTarget();
  #targetErrors = 0;
  /** Never reset: tells an attempt whether an error was counted since it began. */
  #targetErrorsEver = 0;

  constructor(options: RetriesOptions) {
    this.#options = options;
    this.#lastResponseMs = options.clock.monotonicMs();
  }

  /** Something became durable, or the receiver was reached for the first time: the time limit starts over. */
  noteProgress(): void {
    this.#failingSinceMs = undefined;
    this.#waitingSeenMs = undefined;
    this.#waitedMs = 0;
    this.#targetErrors = 0;
  }

  /** The receiver has responded to some lane: lanes that wait for the line need not wait any longer. */
  noteResponse(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const silentMs = nowMs - this.#lastResponseMs;
    this.#lastResponseMs = nowMs;
    // While responses keep coming, failures have another cause.
    if (silentMs >= SILENCE_MS) for (const pause of this.#pauses) pause.abort();
  }

  /**
   * The receiver has answered that it is not done: to be called with each such answer, so that it ends.
   * @param what it says that it does. @throws TransferError `no-progress`.
   */
  keepWaiting(what: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#waitedMs += Math.min(ANSWER_MS_MAX, nowMs - (this.#waitingSeenMs ?? nowMs));
    this.#waitingSeenMs = nowMs;
    if (this.#waitedMs < this.#options.retryForMs) return;
    const waited = formatDuration(this.#waitedMs);
    throw new TransferError(
      'no-progress',
      `gave up after ${waited} without progress: the receiver still says that it ${what}`,
      { hint: 'run the same command again to resume' },
    );
  }

  /**
   * Tries until it succeeds, fails for good, or there was no progress for too long.
   * @param attempt gets the failure of the previous attempt.
   * @throws TransferError the last failure; `no-progress` (exit 6) when the time is over.
   */
  async run<Result>(
    signal: AbortSignal,
    attempt: (failure: TransferError | undefined) => Promise<Result>,
  ): Promise<Result> {
    let failure: TransferError | undefined;
    let corruptCount = 0;
    let failureCount = 0;
    let [wasFull, isTrial] = [false, false];
    try {
      for (;;) {
        const targetErrorsBefore = this.#targetErrorsEver;
        const beganMs = this.#options.clock.monotonicMs();
        try {
          const result = await attempt(failure);
          this.#noteReached();
          if (wasFull) this.#options.onRoom?.();
          return result;
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof TransferError)) throw error;
          failure = error;
          if (error.code !== 'connection-failed') this.#noteReached();
          if (failureCount++ === 0) this.#failingCount++;
          this.#failingSinceMs ??= this.#options.clock.monotonicMs();
          if (isCorrupt(error.code)) corruptCount++;
          if (error.code === 'io-error') this.#noteTargetError(targetErrorsBefore);
          this.#giveUpIfHopeless(error, corruptCount, beganMs);
          const isFull = error.code === 'no-space';
          wasFull ||= isFull;
          if (isFull && !isTrial) isTrial = this.#full.begin();
          if (isFull && !isTrial) await this.#full.ended(signal);
          else await this.#pause(error, failureCount, signal);
        }
      }
    } finally {
      if (isTrial) this.#full.end();
      if (failureCount > 0 && --this.#failingCount === 0) this.#failingSinceMs = undefined;
    }
  }

  /** The longer limit applies from here on, and starts now. */
  #noteReached(): void {
    if (!this.#isReached) this.#failingSinceMs = undefined;
    this.#isReached = true;
  }

  get #limitMs(): number {
    const { retryForMs, firstContactForMs = retryForMs } = this.#options;
    return this.#isReached ? retryForMs : firstContactForMs;
  }

  async #pause(error: TransferError, failureCount: number, signal: AbortSignal): Promise<void> {
    const { clock, random, onRetry } = this.#options;
    const isLine = error.code === 'connection-failed';
    const giveUpInMs = error.kind === 'transient' ? this.#giveUpInMs() : Infinity;
    const wantedMs = retryDelayMs(failureCount, random(), {
      delayMsMax: isLine ? RECONNECT_DELAY_MS_MAX : RETRY_DELAY_MS_MAX,
      retryAfterSeconds: error.retryAfterSeconds,
    });
    // The last attempt is made when the time is over.
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
    return Math.max(0, (this.#failingSinceMs ?? nowMs) + this.#limitMs - nowMs);
  }

  /** One failed write fails all requests in flight: together they count as one error of the target. */
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
        hint:
          "check the disk on the receiver's machine, then run the same command again to resume; " +
          'what is durable is safe',
      });
    }
    if (error.kind !== 'transient') throw error;
    if (!this.#isReached && error.details['isOtherService'] === true) throw notAReceiver(error);
    if (this.#giveUpInMs() > 0) return;
    const nowMs = this.#options.clock.monotonicMs();
    const waitedMs = nowMs - (this.#failingSinceMs ?? nowMs);
    // The attempt began in time, but the process was stopped meanwhile: it has not really been tried.
    const tookMs = nowMs - beganMs;
    if (tookMs > ATTEMPT_MS_MAX && waitedMs - tookMs < this.#limitMs) return;
    throw this.#gaveUp(error, formatDuration(waitedMs));
  }

  #gaveUp(error: TransferError, waited: string): TransferError {
    const resume = 'run the same command again to resume';
    return this.#isReached
      ? new TransferError('no-progress', `gave up after ${waited} without progress: ${error.message}`, {
          cause: error,
          hint: resume,
        })
      : new TransferError('no-progress', `gave up after ${waited}: ${error.message}`, {
          cause: error,
          hint: error.hint ?? resume,
        });
  }
}

/** Waiting will not turn another service into a receiver. Later, damage on the line can look the same. */
function notAReceiver({ message, hint, cause }: TransferError): TransferError {
  return new TransferError('pin-mismatch', message, { cause, ...(hint === undefined ? {} : { hint }) });
}

/** Sent again a few times: a bit may have flipped anywhere between the disk and the receiver's memory. */
function isCorrupt(code: ErrorCode): boolean {
  return code === 'digest-mismatch' || code === 'length-mismatch' || code === 'decode-failed';
}
