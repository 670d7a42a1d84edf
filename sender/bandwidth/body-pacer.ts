/**
 * Keeps all connections together within a limit: bodies go out in small pieces, each when its turn has come.
 */
import type { Clock } from '../../common/clock.ts';
import type { Limit } from './bandwidth-schedule.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * A piece takes about this long. Small ones keep the rate even in spite of the kernel's buffers, and change
 * it soon.
 */
const PIECE_SECONDS = 1 / 64;
/** With 64 bodies on their way, each still moves every 32 s at the lowest limit, and every 4 s at 8 KiB/s. */
const PIECE_BYTES_MIN = 512;
const PIECE_BYTES_MAX = 64 * 1024;
/** Where there is no limit at the moment: there may be one in the next. */
const FREE_PIECE_BYTES = 256 * 1024;
/** A wait is looked at again so often, in case the limit has changed. */
const WAIT_MS_MAX = 250;
/**
 * So many bytes a second for each body at once: a connection carries that on any line, and fewer bodies
 * arrive sooner and lose less when the run is interrupted.
 */
const BODY_BYTES_PER_SECOND = 32 * 1024;
/** While one waits for its receipt, the other goes on. */
const BODIES_MIN = 2;
/** A TLS 1.3 record (RFC 8446, 5.2): up to 16 KiB, and header, type and tag. */
const RECORD_BYTES = 16 * 1024;
const RECORD_OVERHEAD_BYTES = 22;
/** Request line and header fields of a block, about. */
const HEAD_BYTES = 600;

export interface BodyPacerOptions {
  readonly clock: Clock;
  /** Asked before each piece. */
  readonly limit: () => Limit;
}

/** A body on its way; to be disposed when its request has ended, however. */
export interface PacedBody extends Disposable {
  readonly headers: Readonly<Record<string, string>>;
  /** To be gone through once. */
  readonly pieces: AsyncIterable<Buffer>;
}

/** One for all connections of a run. */
export class BodyPacer {
  readonly #options: BodyPacerOptions;
  readonly #bucket = new TokenBucket();
  /** The end of the waiting line: each waits for the one before it. */
  #lastTurn: Promise<void> = Promise.resolve();
  #bodyCount = 0;
  #waiting: (() => void)[] = [];

  constructor(options: BodyPacerOptions) {
    this.#options = options;
  }

  /**
   * Waits until one more body may be on its way: the line would not carry all that there are.
   * @param bytes must not change until it is disposed. @throws the signal's reason.
   */
  async enter(bytes: Buffer, signal: AbortSignal): Promise<PacedBody> {
    await this.#admit(signal);
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    return {
      headers: { 'content-length': String(bytes.length) },
      pieces: this.#pieces(bytes, either),
      [Symbol.dispose]: () => {
        ended.abort();
        this.#bodyCount--;
        this.#wake();
      },
    };
  }

  async #admit(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#waiting.length === 0 && this.#bodyCount < this.#bodyCountMax()) {
      this.#bodyCount++;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = (): void => {
      this.#waiting = this.#waiting.filter((each) => each !== resolve);
      reject(signal.reason);
    };
    this.#waiting.push(resolve);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #bodyCountMax(): number {
    const limit = this.#options.limit();
    return limit === undefined ? Infinity : Math.max(BODIES_MIN, Math.ceil(limit / BODY_BYTES_PER_SECOND));
  }

  #wake(): void {
    while (this.#waiting.length > 0 && this.#bodyCount < this.#bodyCountMax()) {
      this.#bodyCount++;
      this.#waiting.shift()?.();
    }
  }

  async *#pieces(bytes: Buffer, signal: AbortSignal): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length;) {
      const length = await this.#take(at === 0 ? HEAD_BYTES : 0, bytes.length - at, signal);
      yield bytes.subarray(at, at + length);
      at += length;
    }
  }

  /** @returns how many bytes may go now. @throws the signal's reason, after its turn. */
  async #take(extraBytes: number, bytesMax: number, signal: AbortSignal): Promise<number> {
    const before = this.#lastTurn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#lastTurn = promise;
    try {
      await before;
      return await this.#takeInTurn(extraBytes, bytesMax, signal);
    } finally {
      resolve();
    }
  }

  async #takeInTurn(extraBytes: number, bytesMax: number, signal: AbortSignal): Promise<number> {
    const { clock } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      // The limit may have been raised, and it is asked here, where something moves.
      this.#wake();
      const limit = this.#options.limit();
      if (limit === undefined) return Math.min(bytesMax, FREE_PIECE_BYTES);
      this.#bucket.setRate(limit, clock.monotonicMs());
      const waitMs = this.#bucket.waitMs(clock.monotonicMs());
      if (waitMs <= 0) return this.#takeNow(limit, extraBytes, bytesMax);
      await clock.sleep(Math.min(waitMs, WAIT_MS_MAX), signal);
    }
  }

  #takeNow(limit: number, extraBytes: number, bytesMax: number): number {
    const wanted = Math.floor(limit * PIECE_SECONDS);
    const bytes = Math.min(bytesMax, Math.max(PIECE_BYTES_MIN, Math.min(PIECE_BYTES_MAX, wanted)));
    const records = Math.ceil(bytes / RECORD_BYTES);
    this.#bucket.take(
      bytes + records * RECORD_OVERHEAD_BYTES + extraBytes,
      this.#options.clock.monotonicMs(),
    );
    return bytes;
  }
}
