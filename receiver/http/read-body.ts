/** Takes the body of a request into memory, and never more of it than was agreed. */
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { constants as zlibConstants, gunzip, zstdDecompress } from 'node:zlib';
import { TransferError } from '../../common/errors.ts';
import { oneStep, release } from '../../common/io/garbage.ts';
import { BLOCK_SIZE_BYTES_MAX } from '../../common/geometry.ts';
import { tooLarge, type Encoding } from './block-request.ts';
import { lengthMismatch } from '../transfer/refusals.ts';

/** A line of 64 kbit/s moves 16 KiB in two seconds: a minute without a byte is no slow line, it is none. */
export const BODY_PROGRESS_TIMEOUT_MS = 60_000;
/** A block of 16 MiB, the largest, never needs a larger window. */
const ZSTD_WINDOW_LOG_MAX = Math.log2(BLOCK_SIZE_BYTES_MAX);

const zstdDecompressAsync = promisify(zstdDecompress);
const gunzipAsync = promisify(gunzip);

/**
 * Fills `into` with the whole body.
 * @param bytesMax longer bodies are refused; `into` has at least this length.
 * @returns the body's length. @throws TransferError `too-large`, `too-slow`, `connection-failed`.
 */
export async function readBody(
  incoming: IncomingMessage,
  into: Buffer,
  bytesMax: number,
  progressTimeoutMs = BODY_PROGRESS_TIMEOUT_MS,
): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    let length = 0;
    const timer = setTimeout(() => {
      fail(new TransferError('too-slow', `no byte of the body came for ${progressTimeoutMs / 1000} s`));
    }, progressTimeoutMs);
    const stop = (): void => {
      clearTimeout(timer);
      incoming.off('data', take).off('end', end).off('error', cut).off('close', cut);
    };
    const fail = (error: TransferError): void => {
      stop();
      incoming.pause();
      reject(error);
    };
    const take = (piece: Buffer): void => {
      timer.refresh();
      if (length + piece.length > bytesMax) return fail(tooLarge(bytesMax));
      piece.copy(into, length);
      length += piece.length;
    };
    const end = (): void => {
      stop();
      resolve(length);
    };
    const cut = (cause?: Error): void => {
      fail(
        new TransferError('connection-failed', `the connection was cut after ${length} bytes of the body`, {
          cause,
        }),
      );
    };
    incoming.on('data', take).on('end', end).on('error', cut).on('close', cut);
    // It may have been cut while its block waited for memory, and will not say so again.
    if (incoming.destroyed) cut();
  });
}

/**
 * Undoes the coding of `into[0, bodyBytes)` in place.
 * The output is bounded before it is made: a bomb costs no more memory than a block.
 * @returns the length of the plain bytes. @throws TransferError `decode-failed`, `length-mismatch`.
 */
export async function decodeInPlace(
  into: Buffer,
  bodyBytes: number,
  encoding: Encoding,
  lengthBytes: number,
): Promise<number> {
  if (encoding === 'identity') return bodyBytes;
  const body = into.subarray(0, bodyBytes);
  const chunkSize = oneStep(lengthBytes);
  let plain: Buffer<ArrayBuffer>;
  try {
    plain = await (encoding === 'gzip'
      ? gunzipAsync(body, { maxOutputLength: lengthBytes, chunkSize })
      : zstdDecompressAsync(body, {
          maxOutputLength: lengthBytes,
          chunkSize,
          params: { [zlibConstants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
        }));
  } catch (error) {
    if (error instanceof RangeError) throw lengthMismatch(lengthBytes, lengthBytes + 1);
    const reason = error instanceof Error ? error.message : String(error);
    throw new TransferError('decode-failed', `the body is not valid ${encoding}: ${reason}`, {
      cause: error,
    });
  }
  // Trailing junk and skipped frames pass some decoders: length and digest of the plain bytes decide.
  if (plain.length !== lengthBytes) throw lengthMismatch(lengthBytes, plain.length);
  plain.copy(into);
  release(plain);
  return lengthBytes;
}
