/** Keeps all connections together within a rate limit: bodies go out in small chunks, in turn. */
import type { Clock } from '../../common/clock.ts';
import { Semaphore } from '../../common/semaphore.ts';
import type { Limit } from '../../common/bandwidth/bandwidth-schedule.ts';
import { TokenBucket } from './token-bucket.ts';

/** What a chunk takes at the limit. Small ones keep the rate even despite the kernel's buffers. */
const CHUNK_SECONDS = 1 / 64;
/** With 64 bodies in flight each still moves every 32 s at the lowest limit, and every 4 s at 8 KiB/s. */
const CHUNK_BYTES_MIN = 512;
const CHUNK_BYTES_MAX = 64 * 1024;
/** While there is no limit; one may begin with the next chunk. */
const FREE_CHUNK_BYTES = 256 * 1024;
/** A wait is never longer than this, in case the limit changes. */
const WAIT_MS_MAX = 250;
/**
 * At most so many bodies go out at once that each takes this long at the limit. With more of them none would
 * be finished for a long time, and an interruption would lose them all.
 */
const BODY_SECONDS = 10;
/** Bodies differ, as they are compressed: the largest one counts, less with each one that follows. */
const SIZE_DECAY = 0.9;
/**
 * If no chunk had to wait for this long, lossy connections leave a part of the limit unused: one body more.
 */
const UNUSED_MS = 2000;
/** A TLS 1.3 record (RFC 8446, 5.2): up to 16 KiB, and header, type and tag. */
const RECORD_BYTES = 16 * 1024;
const RECORD_OVERHEAD_BYTES = 22;
/** Request line and header fields of a block, about. */
const HEAD_BYTES = 600;

export interface BodyPacerOptions {
  readonly clock: Clock;
  /** Asked before each chunk. */
  readonly limit: () => Limit;
}

/** Dispose it when its request has ended, however. */
export interface PacedBody extends Disposable {
  readonly headers: Readonly<Record<string, string>>;
  /** Can be iterated once. */
  readonly chunks: AsyncIterable<Buffer>;
}

/** One for all connections of a run. */
export class BodyPacer {
  readonly #options: BodyPacerOptions;
  readonly #bucket = new TokenBucket();
  readonly #bodies = new Semaphore(1);
  readonly #turn = new Semaphore(1);
  #limit: Limit;
  #bodyBytes = 1;
  #extraBodies = 0;
  #waitedAtMs = 0;

  constructor(options: BodyPacerOptions) {
    this.#options = options;
  }

  /**
   * Waits until one more body may go out.
   * @param bytes must not change until the body is disposed. @throws the signal's reason.
   */
  async enter(bytes: Buffer, signal: AbortSignal): Promise<PacedBody> {
    this.#bodyBytes = Math.max(1, bytes.length, this.#bodyBytes * SIZE_DECAY);
    this.#admit();
    const permit = await this.#bodies.take(signal);
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    return {
      headers: { 'content-length': String(bytes.length) },
      chunks: this.#chunks(bytes, permit, either),
      [Symbol.dispose]: () => {
        ended.abort();
        permit[Symbol.dispose]();
      },
    };
  }

  /** Follows the limit, which may change at any time. */
  #admit(): void {
    const limit = this.#options.limit();
    if (limit !== this.#limit) this.#extraBodies = 0;
    this.#limit = limit;
    const fitting = limit === undefined ? Infinity : Math.floor((limit * BODY_SECONDS) / this.#bodyBytes);
    this.#bodies.limit = Math.max(1, fitting) + this.#extraBodies;
  }

  async *#chunks(bytes: Buffer, permit: Disposable, signal: AbortSignal): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length;) {
      const length = await this.#take(at === 0 ? HEAD_BYTES : 0, bytes.length - at, signal);
      yield bytes.subarray(at, at + length);
      at += length;
    }
    // The next body goes out while this one waits for its response.
    permit[Symbol.dispose]();
  }

  /** @returns how many bytes may go now. @throws the signal's reason. */
  async #take(extraBytes: number, bytesMax: number, signal: AbortSignal): Promise<number> {
    const { clock } = this.#options;
    using _turn = await this.#turn.take(signal);
    for (;;) {
      signal.throwIfAborted();
      const nowMs = clock.monotonicMs();
      this.#admit();
      if (this.#limit === undefined) return Math.min(bytesMax, FREE_CHUNK_BYTES);
      this.#bucket.setRate(this.#limit, nowMs);
      const waitMs = this.#bucket.waitMs(nowMs);
      if (waitMs <= 0) {
        this.#noteUnused(nowMs);
        return this.#takeNow(this.#limit, extraBytes, bytesMax);
      }
      this.#waitedAtMs = nowMs;
      await clock.sleep(Math.min(waitMs, WAIT_MS_MAX), signal);
    }
  }

  #noteUnused(nowMs: number): void {
    if (nowMs - this.#waitedAtMs < UNUSED_MS) return;
    this.#waitedAtMs = nowMs;
    if (this.#bodies.waitingCount > 0) this.#extraBodies++;
    this.#admit();
  }

  #takeNow(limit: number, extraBytes: number, bytesMax: number): number {
    const wanted = Math.floor(limit * CHUNK_SECONDS);
    const bytes = Math.min(bytesMax, Math.max(CHUNK_BYTES_MIN, Math.min(CHUNK_BYTES_MAX, wanted)));
    const records = Math.ceil(bytes / RECORD_BYTES);
    this.#bucket.take(
      bytes + records * RECORD_OVERHEAD_BYTES + extraBytes,
      this.#options.clock.monotonicMs(),
    );
    return bytes;
  }
}
