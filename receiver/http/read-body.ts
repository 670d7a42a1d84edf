/** Reads the body of a request into memory, and never more of it than allowed. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { constants as zlibConstants, gunzip, zstdDecompress } from 'node:zlib';
import { TransferError } from '../../common/errors.ts';
import { oneStep, release } from '../../common/io/garbage.ts';
import { BLOCK_SIZE_BYTES_MAX } from '../../common/geometry.ts';
import { tooLarge, type BlockHead, type Encoding } from './block-head.ts';
import { compareDigests } from './digest-headers.ts';
import { lengthMismatch } from '../transfer/refusals.ts';

/** A line of 64 kbit/s delivers 16 KiB in two seconds; one that delivers nothing for a minute is down. */
export const BODY_PROGRESS_TIMEOUT_MS = 60_000;
/** No block is larger than 16 MiB, so none needs a larger window. */
const ZSTD_WINDOW_LOG_MAX = Math.log2(BLOCK_SIZE_BYTES_MAX);

const zstdDecompressAsync = promisify(zstdDecompress);
const gunzipAsync = promisify(gunzip);

export interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/**
 * Reads the block that `head` announces, decoded, into the start of a slab.
 * @returns exactly the plain block; its own digests are still to be checked.
 * @throws TransferError as {@link readBody} and {@link decodeInPlace}, `digest-mismatch`.
 */
export async function readBlock(
  exchange: Exchange,
  head: BlockHead,
  into: Buffer<ArrayBuffer>,
  progressTimeoutMs = BODY_PROGRESS_TIMEOUT_MS,
): Promise<Buffer<ArrayBuffer>> {
  const bodyBytes = await readBody(exchange, into, head.bodyBytesMax, progressTimeoutMs);
  // Before decoding: this digest protects the decoder.
  await compareDigests(into.subarray(0, bodyBytes), head.encodedDigests, head.index);
  return await decodeInPlace(into, bodyBytes, head.encoding, head.lengthBytes);
}

/** As {@link readBody}, for a body of which only the length matters. */
export async function discardBody(
  exchange: Exchange,
  bytesMax: number,
  progressTimeoutMs = BODY_PROGRESS_TIMEOUT_MS,
): Promise<number> {
  return await takeBody(exchange, () => {}, bytesMax, progressTimeoutMs);
}

/**
 * Reads the whole body into `into`. A client that waits for `100 Continue` gets it here, so everything that
 * the head alone can decide must have been checked.
 * @param bytesMax longer bodies are refused; `into` is at least this long.
 * @returns the body's length. @throws TransferError `too-large`, `too-slow`, `connection-failed`.
 */
export async function readBody(
  exchange: Exchange,
  into: Buffer,
  bytesMax: number,
  progressTimeoutMs = BODY_PROGRESS_TIMEOUT_MS,
): Promise<number> {
  const put = (chunk: Buffer, at: number): void => void chunk.copy(into, at);
  return await takeBody(exchange, put, bytesMax, progressTimeoutMs);
}

/** @param put gets each chunk with its place in the body. */
async function takeBody(
  { incoming, outgoing }: Exchange,
  put: (chunk: Buffer, at: number) => void,
  bytesMax: number,
  progressTimeoutMs: number,
): Promise<number> {
  if (incoming.headers.expect !== undefined) outgoing.writeContinue();
  return await new Promise<number>((resolve, reject) => {
    let length = 0;
    const timer = setTimeout(() => {
      fail(new TransferError('too-slow', `no data of the body for ${progressTimeoutMs / 1000} s`));
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
    const take = (chunk: Buffer): void => {
      timer.refresh();
      const at = length;
      if (at + chunk.length > bytesMax) return fail(tooLarge(bytesMax));
      length += chunk.length;
      put(chunk, at);
      releaseWhole(chunk);
    };
    const end = (): void => {
      stop();
      resolve(length);
    };
    const cut = (cause?: Error): void => {
      const message = `the connection was cut after ${length} bytes of the body`;
      fail(new TransferError('connection-failed', message, { cause }));
    };
    incoming.on('data', take).on('end', end).on('error', cut).on('close', cut);
    // Cut while the block waited for memory: it will not emit `close` again.
    if (incoming.destroyed) cut();
  });
}

/**
 * The next chunk then gets the same memory, which is mapped and in the processor's cache. Left to the garbage
 * collector, chunks took a sixth of the receiver's processor time, most of it for fresh pages.
 */
function releaseWhole(chunk: Buffer): void {
  // Node's parser copies each chunk into memory of its own.
  if (chunk.length === chunk.buffer.byteLength) release(chunk as Buffer<ArrayBuffer>);
}

/**
 * Decodes the body `into[0, bodyBytes)` in place. The decoder's output is bounded, so a decompression bomb
 * costs no more memory than a block.
 * @returns exactly the plain block. @throws TransferError `decode-failed`, `length-mismatch`.
 */
export async function decodeInPlace(
  into: Buffer<ArrayBuffer>,
  bodyBytes: number,
  encoding: Encoding,
  lengthBytes: number,
): Promise<Buffer<ArrayBuffer>> {
  let plainBytes = bodyBytes;
  if (encoding !== 'identity') {
    const plain = await decode(into.subarray(0, bodyBytes), encoding, lengthBytes);
    plainBytes = plain.copy(into);
    release(plain);
  }
  // Decoders may accept trailing junk and skippable frames: length and digest of the plain bytes decide.
  if (plainBytes !== lengthBytes) throw lengthMismatch(lengthBytes, plainBytes);
  return into.subarray(0, lengthBytes);
}

async function decode(
  body: Buffer<ArrayBuffer>,
  encoding: 'zstd' | 'gzip',
  lengthBytes: number,
): Promise<Buffer<ArrayBuffer>> {
  const bounds = { maxOutputLength: lengthBytes, chunkSize: oneStep(lengthBytes) };
  try {
    if (encoding === 'gzip') return await gunzipAsync(body, bounds);
    const params = { [zlibConstants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX };
    return await zstdDecompressAsync(body, { ...bounds, params });
  } catch (error) {
    if (error instanceof RangeError) throw lengthMismatch(lengthBytes, lengthBytes + 1);
    const reason = error instanceof Error ? error.message : String(error);
    throw new TransferError('decode-failed', `the body is not valid ${encoding}: ${reason}`, {
      cause: error,
    });
  }
}
