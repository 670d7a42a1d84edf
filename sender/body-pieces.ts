/** The body of a request, handed out bit by bit. */
import { Readable } from 'node:stream';

/**
 * Small enough that what a slow connection has taken is known to a part of a second, large enough that a fast
 * one does not notice.
 */
export const BODY_PIECE_BYTES = 256 * 1024;

/**
 * Given as a whole, a block lies in the process until the kernel takes it, and counts as written meanwhile.
 * In pieces the next one is asked for when the kernel has taken the one before, so that no more than one is
 * counted too early. The pieces are views: `bytes` must not change until the request has ended.
 */
export function inPieces(bytes: Buffer): Readable {
  return Readable.from(piecesOf(bytes), { objectMode: false, highWaterMark: 0 });
}

function* piecesOf(bytes: Buffer): Generator<Buffer, void, undefined> {
  for (let at = 0; at < bytes.length; at += BODY_PIECE_BYTES) {
    yield bytes.subarray(at, at + BODY_PIECE_BYTES);
  }
}
