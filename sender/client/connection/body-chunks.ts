/** The body of a request, handed out bit by bit. */
import { Readable } from 'node:stream';
import { systemClock, type Clock } from '../../../common/clock.ts';

/** A record of TLS: less would cost a record each. */
export const BODY_CHUNK_BYTES_MIN = 16 * 1024;
/** More makes nothing faster. */
export const BODY_CHUNK_BYTES_MAX = 256 * 1024;
const BODY_CHUNK_BYTES_START = 64 * 1024;
/** A piece that was taken sooner is followed by a larger one, later by a smaller one. */
const SOON_MS = 10;
const LATE_MS = 40;

/** As undici takes it. @param paced pieces of the body that come in their turn. */
export function bodyOf(
  body: Buffer | string | undefined,
  paced: AsyncIterable<Buffer> | undefined,
): Readable | string | null {
  // Async iterables are documented as bodies (undici, docs/api/Dispatcher.md); its types lack them.
  if (paced !== undefined) return paced as unknown as Readable;
  return Buffer.isBuffer(body) ? inChunks(body) : (body ?? null);
}

/**
 * Given as a whole, a block lies in the process until the kernel takes it, and counts as written meanwhile:
 * half a minute on a slow line. In pieces the next one is asked for when the kernel has taken the one before,
 * so that no more than one is unaccounted for. The pieces are views: `bytes` must not change until the
 * request has ended.
 */
export function inChunks(bytes: Buffer, clock: Clock = systemClock): Readable {
  return Readable.from(chunksOf(bytes, clock), { objectMode: false, highWaterMark: 0 });
}

function* chunksOf(bytes: Buffer, clock: Clock): Generator<Buffer, void, undefined> {
  let pieceBytes = BODY_CHUNK_BYTES_START;
  for (let at = 0; at < bytes.length;) {
    const startMs = clock.monotonicMs();
    yield bytes.subarray(at, at + pieceBytes);
    at += pieceBytes;
    const tookMs = clock.monotonicMs() - startMs;
    if (tookMs < SOON_MS) pieceBytes = Math.min(pieceBytes * 2, BODY_CHUNK_BYTES_MAX);
    else if (tookMs > LATE_MS) pieceBytes = Math.max(pieceBytes / 2, BODY_CHUNK_BYTES_MIN);
  }
}
