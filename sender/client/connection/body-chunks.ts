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
  return Readable.from(chunksOf(bytes, clock), { objectMode: false, highWaterMark: 0 });
}

function* chunksOf(bytes: Buffer, clock: Clock): Generator<Buffer, void, undefined> {
  let chunkBytes = BODY_CHUNK_BYTES_START;
  for (let at = 0; at < bytes.length;) {
    const startMs = clock.monotonicMs();
    yield bytes.subarray(at, at + chunkBytes);
    at += chunkBytes;
    const tookMs = clock.monotonicMs() - startMs;
    if (tookMs < QUICK_MS) chunkBytes = Math.min(chunkBytes * 2, BODY_CHUNK_BYTES_MAX);
    else if (tookMs > SLOW_MS) chunkBytes = Math.max(chunkBytes / 2, BODY_CHUNK_BYTES_MIN);
  }
}
