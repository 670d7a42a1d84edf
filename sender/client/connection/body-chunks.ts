/** The body of a request, in chunks. */
import { Readable } from 'node:stream';
import { systemClock, type Clock } from '../../../common/clock.ts';

/** One TLS record: smaller chunks would cost a record each. */
export const BODY_CHUNK_BYTES_MIN = 16 * 1024;
/** Larger ones make nothing faster. */
export const BODY_CHUNK_BYTES_MAX = 256 * 1024;
const BODY_CHUNK_BYTES_START = 64 * 1024;
/** A chunk that was taken sooner than this is followed by a larger one. */
const QUICK_MS = 10;
/** A chunk that was taken later than this is followed by a smaller one. */
const SLOW_MS = 40;

/** As undici takes it. @param paced chunks of the body at a limited rate. */
export function bodyOf(
  body: Buffer | string | undefined,
  paced: AsyncIterable<Buffer> | undefined,
): Readable | string | null {
  // Async iterables are documented as bodies (undici, docs/api/Dispatcher.md); its types lack them.
  if (paced !== undefined) return paced as unknown as Readable;
  return Buffer.isBuffer(body) ? inChunks(body) : (body ?? null);
}

/**
 * A body that is given as a whole counts as written while it waits in the process for the kernel: for half a
 * minute on a slow line. In chunks, the next one is asked for when the kernel has taken the one before, so
 * that no more than one is miscounted. The chunks are views: `bytes` must not change until the request has
 * ended.
 */
export function inChunks(bytes: Buffer, clock: Clock = systemClock): Readable {
  return new ChunkedBody(bytes, clock);
}

/**
 * Its end comes with its last chunk, also where that fills the socket. A receiver nearby responds to the last
 * byte before the socket has drained, and undici closes a connection whose response comes before the end of
 * the body.
 */
class ChunkedBody extends Readable {
  readonly #bytes: Buffer;
  readonly #clock: Clock;
  #at = 0;
  #chunkBytes = BODY_CHUNK_BYTES_START;
  #pushedAtMs: number | undefined;

  constructor(bytes: Buffer, clock: Clock) {
    super({ highWaterMark: 0 });
    this.#bytes = bytes;
    this.#clock = clock;
  }

  override _read(): void {
    this.#adapt();
    if (this.#at < this.#bytes.length) {
      const chunk = this.#bytes.subarray(this.#at, this.#at + this.#chunkBytes);
      this.#at += chunk.length;
      this.push(chunk);
    }
    if (this.#isAtEnd) this.push(null);
    this.#pushedAtMs = this.#clock.monotonicMs();
  }

  override pause(): this {
    return this.#isAtEnd ? this : super.pause();
  }

  get #isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** To how fast the last chunk was taken. */
  #adapt(): void {
    if (this.#pushedAtMs === undefined) return;
    const tookMs = this.#clock.monotonicMs() - this.#pushedAtMs;
    const [least, most] = [BODY_CHUNK_BYTES_MIN, BODY_CHUNK_BYTES_MAX];
    if (tookMs < QUICK_MS) this.#chunkBytes = Math.min(this.#chunkBytes * 2, most);
    else if (tookMs > SLOW_MS) this.#chunkBytes = Math.max(this.#chunkBytes / 2, least);
  }
}
