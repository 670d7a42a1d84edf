/**
 * Compresses blocks. Whether it pays is decided by a small sample. The encoded block is decoded and compared
 * before it is sent, so that an error in this machine's memory costs no more than a warning.
 */
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress } from 'node:zlib';
import type { Clock } from '../../common/clock.ts';
import { oneStep, release } from '../../common/io/garbage.ts';
import { LEVEL_COSTS, chooseLevel, type Level } from './compression-level.ts';
import { Semaphore } from '../../common/semaphore.ts';

const compressAsync = promisify(zstdCompress);
const decompressAsync = promisify(zstdDecompress);

const SAMPLE_CHUNK_BYTES = 4096;
const SAMPLE_CHUNKS_MAX = 8;
/** One chunk for so much of a block. */
const SAMPLE_EVERY_BYTES = 64 * 1024;
/** Blocks that shrink less than this are sent plain, which saves the receiver decoding them. */
const SHARE_MAX = 0.95;
/** While samples do not shrink, the next 1, 3, 7 and finally so many blocks are sent without a sample. */
const UNSAMPLED_BLOCKS_MAX = 15;
/** A line is slow if the processors could encode so many times its rate. */
const SLOW_LINE_TIMES = 5;
/** One in so many blocks that shrink is sent plain, to measure the line; the first of them early. */
const PROBE_EVERY_BLOCKS = 64;
const PROBE_FIRST = 6;
/** Weight of earlier measurements, with each block. */
const DECAY = 0.9;
/** Assumed until a block was encoded. */
const ENCODE_BYTES_PER_SECOND_START = 120e6;

export interface Codec {
  encode(bytes: Buffer, level: number): Promise<Buffer>;
  /** @param bytesMax more is an error. @returns a buffer that the caller owns. */
  decode(encoded: Buffer, bytesMax: number): Promise<Buffer<ArrayBuffer>>;
}

const ZSTD: Codec = {
  encode: async (bytes, level) => {
    const step = await compressAsync(bytes, {
      params: { [constants.ZSTD_c_compressionLevel]: level },
      chunkSize: oneStep(bytes.length),
    });
    // Its memory is as large as the block, whatever it holds, and would be in use for minutes.
    const encoded = Buffer.from(step);
    release(step);
    return encoded;
  },
  decode: async (encoded, bytesMax) =>
    await decompressAsync(encoded, { maxOutputLength: bytesMax, chunkSize: oneStep(bytesMax) }),
};

export interface BlockEncoderOptions {
  /** A number is the level of zstd for every block that shrinks at all. */
  readonly compression: 'auto' | number;
  /** So many blocks are encoded at once. */
  readonly cores: number;
  readonly clock: Clock;
  readonly warn: (warning: string) => void;
  readonly codec?: Codec;
}

/** A block that was sent, plain or encoded. */
export interface SentBlock {
  readonly wireBytes: number;
  readonly isEncoded: boolean;
  readonly sendingMs: number;
  /** Blocks in flight or being encoded at that time. */
  readonly lanes: number;
}

export class BlockEncoder {
  readonly #options: BlockEncoderOptions;
  readonly #codec: Codec;
  readonly #cores: Semaphore;
  #isRefused = false;
  #level: Level = 1;
  /** Samples in a row that did not shrink, and the number of next blocks that are sent without one. */
  #failedSamples = 0;
  #unsampled = 0;
  #encodeBytesPerSecond = ENCODE_BYTES_PER_SECOND_START;
  /** Decaying sums over the blocks that were sent. */
  readonly #plain = { bytes: 0, ms: 0 };
  readonly #encoded = { bytes: 0, ms: 0 };
  #shrinking = 0;
  #lanes = 1;

  constructor(options: BlockEncoderOptions) {
    this.#options = options;
    this.#codec = options.codec ?? ZSTD;
    this.#cores = new Semaphore(options.cores);
  }

  /**
   * @param bytes must not change until this settles; they are not changed here.
   * @returns a zstd frame that is smaller than the block; undefined if the block is better sent plain.
   */
  async encode(index: number, bytes: Buffer): Promise<Buffer | undefined> {
    const level = this.#isRefused ? 0 : this.#levelFor(bytes);
    if (level === 0) return undefined;
    using _core = await this.#cores.take();
    const startMs = this.#options.clock.monotonicMs();
    const encoded = await this.#codec.encode(bytes, level);
    const isAuto = this.#options.compression === 'auto';
    if (encoded.length >= bytes.length * (isAuto ? SHARE_MAX : 1)) {
      this.#noteSample(1);
      return undefined;
    }
    this.#noteSample(0);
    const isEqual = await this.#decodesTo(bytes, encoded);
    this.#noteSpeed(level, bytes.length, this.#options.clock.monotonicMs() - startMs);
    if (isEqual) return encoded;
    this.#options.warn(
      `block ${index} differed after compressing and decompressing, and is sent uncompressed: ` +
        "this machine's memory or processor may be faulty",
    );
    return undefined;
  }

  /** The receiver does not support the encoding: nothing is encoded any more. */
  refuse(): void {
    if (!this.#isRefused)
      this.#options.warn('the receiver does not support zstd: blocks are sent uncompressed');
    this.#isRefused = true;
  }

  noteSent({ wireBytes, isEncoded, sendingMs, lanes }: SentBlock): void {
    const sums = isEncoded ? this.#encoded : this.#plain;
    sums.bytes = sums.bytes * DECAY + wireBytes;
    sums.ms = sums.ms * DECAY + sendingMs;
    this.#lanes = this.#lanes * DECAY + lanes * (1 - DECAY);
  }

  #levelFor(bytes: Buffer): number {
    const { compression, cores } = this.#options;
    if (compression !== 'auto') return compression;
    const isLineSlow = this.#isLineSlow();
    if (this.#unsampled > 0 && !isLineSlow) {
      this.#unsampled--;
      return 0;
    }
    const share = shareOfSample(bytes);
    if (share > SHARE_MAX) {
      this.#noteSample(share);
      return isLineSlow ? 1 : 0;
    }
    if (++this.#shrinking % PROBE_EVERY_BLOCKS === PROBE_FIRST) return 0;
    const level = chooseLevel({
      level: this.#level,
      share,
      encodeBytesPerSecond: this.#encodeBytesPerSecond,
      cores: Math.min(cores, Math.max(1, this.#lanes)),
      lineBytesPerSecond: this.#lineBytesPerSecond(),
    });
    // At first small bodies take as long as large ones: only a plain one proves that a line is slow.
    this.#level = this.#plain.ms === 0 && level > 1 ? 1 : level;
    return this.#level;
  }

  /** So slow that encoding in vain costs nothing, while a sample may have missed what shrinks. */
  #isLineSlow(): boolean {
    if (this.#plain.ms === 0) return false;
    const cores = Math.min(this.#options.cores, Math.max(1, this.#lanes));
    return cores * this.#encodeBytesPerSecond > SLOW_LINE_TIMES * (this.#lineBytesPerSecond() ?? Infinity);
  }

  /** @returns undefined while nothing was sent. */
  #lineBytesPerSecond(): number | undefined {
    // If the receiver is the limit, a small body takes as long as a large one: the higher rate counts.
    const rates = [this.#plain, this.#encoded].map(({ bytes, ms }) => (ms > 0 ? (bytes * 1000) / ms : 0));
    const rate = Math.max(...rates);
    return rate > 0 ? this.#lanes * rate : undefined;
  }

  #noteSample(share: number): void {
    this.#failedSamples = share > SHARE_MAX ? this.#failedSamples + 1 : 0;
    this.#unsampled = Math.min(2 ** this.#failedSamples - 1, UNSAMPLED_BLOCKS_MAX);
  }

  #noteSpeed(level: number, bytes: number, ms: number): void {
    const cost = Object.entries(LEVEL_COSTS).find(([each]) => Number(each) === level)?.[1];
    if (cost === undefined || ms <= 0) return;
    const asLevel1 = (bytes * 1000) / ms / cost.speed;
    this.#encodeBytesPerSecond = this.#encodeBytesPerSecond * DECAY + asLevel1 * (1 - DECAY);
  }

  async #decodesTo(bytes: Buffer, encoded: Buffer): Promise<boolean> {
    try {
      const decoded = await this.#codec.decode(encoded, bytes.length);
      const isEqual = bytes.equals(decoded);
      release(decoded);
      return isEqual;
    } catch {
      return false;
    }
  }
}

/** Encoded bytes for each plain byte at level 1, in chunks from all over the block. */
export function shareOfSample(bytes: Buffer): number {
  const count = Math.max(1, Math.min(SAMPLE_CHUNKS_MAX, Math.floor(bytes.length / SAMPLE_EVERY_BYTES)));
  const stride = Math.floor(bytes.length / count);
  const chunks = Array.from({ length: count }, (_, at) =>
    bytes.subarray(at * stride, at * stride + SAMPLE_CHUNK_BYTES),
  );
  const sample = Buffer.concat(chunks);
  const encoded = zstdCompressSync(sample, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return encoded.length / Math.max(1, sample.length);
}
