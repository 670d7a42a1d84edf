/**
 * Blocks made smaller for the line. Whether it pays is told from a small sample; what was encoded is decoded
 * and compared before it is sent, so that an error of this machine's memory costs nothing but a warning.
 */
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress } from 'node:zlib';
import type { Clock } from '../../common/clock.ts';
import { oneStep, release } from '../../common/io/garbage.ts';
import { LEVEL_COSTS, chooseLevel, type Level } from './compression-level.ts';
import { Semaphore } from '../../common/semaphore.ts';

const compressAsync = promisify(zstdCompress);
const decompressAsync = promisify(zstdDecompress);

const SAMPLE_PIECE_BYTES = 4096;
const SAMPLE_PIECES_MAX = 8;
/** A piece for so much of a block. */
const SAMPLE_EVERY_BYTES = 64 * 1024;
/** What does not become smaller than this is sent plain: the receiver need not decode it then. */
const SHARE_MAX = 0.95;
/** While samples do not shrink, the next 1, 3, 7 and at last so many blocks are sent without one. */
const UNSAMPLED_BLOCKS_MAX = 15;
/** A line is slow when the processors could encode so many times what it takes. */
const SLOW_LINE_TIMES = 5;
/** One block of so many that shrink goes plain, to see what the line takes; the first of them is early. */
const PROBE_EVERY_BLOCKS = 64;
const PROBE_FIRST = 6;
/** Of what was learned before, with each block. */
const DECAY = 0.9;
/** Until one block was encoded. */
const ENCODE_BYTES_PER_SECOND_START = 120e6;

export interface Codec {
  encode(bytes: Buffer, level: number): Promise<Buffer>;
  /** @param bytesMax more is an error. @returns a buffer of the caller's own. */
  decode(encoded: Buffer, bytesMax: number): Promise<Buffer<ArrayBuffer>>;
}

const ZSTD: Codec = {
  encode: async (bytes, level) => {
    const step = await compressAsync(bytes, {
      params: { [constants.ZSTD_c_compressionLevel]: level },
      chunkSize: oneStep(bytes.length),
    });
    // As large as the block, whatever is in it, and on its way for minutes.
    const encoded = Buffer.from(step);
    release(step);
    return encoded;
  },
  decode: async (encoded, bytesMax) =>
    await decompressAsync(encoded, { maxOutputLength: bytesMax, chunkSize: oneStep(bytesMax) }),
};

export interface BlockEncoderOptions {
  /** A number: zstd at this level, wherever that is smaller at all. */
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
  /** Blocks that were read and under way or being encoded at that time. */
  readonly lanes: number;
}

export class BlockEncoder {
  readonly #options: BlockEncoderOptions;
  readonly #codec: Codec;
  readonly #turns: Semaphore;
  #isRefused = false;
  #level: Level = 1;
  /** Samples in a row that did not shrink, and blocks to come that are sent without one. */
  #failedSamples = 0;
  #unsampled = 0;
  #encodeBytesPerSecond = ENCODE_BYTES_PER_SECOND_START;
  /** Sums that forget: of blocks sent, and of the lanes that sent them. */
  readonly #plain = { bytes: 0, ms: 0 };
  readonly #encoded = { bytes: 0, ms: 0 };
  #shrinking = 0;
  #lanes = 1;

  constructor(options: BlockEncoderOptions) {
    this.#options = options;
    this.#codec = options.codec ?? ZSTD;
    this.#turns = new Semaphore(options.cores);
  }

  /**
   * @param bytes must not change until this has settled; they are left as they are.
   * @returns the block in zstd's format, a buffer of its own and smaller than the block; undefined where the
   * block is better sent plain.
   */
  async encode(index: number, bytes: Buffer): Promise<Buffer | undefined> {
    const level = this.#isRefused ? 0 : this.#levelFor(bytes);
    if (level === 0) return undefined;
    using _turn = await this.#turns.take();
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
      `block ${index} was not itself after compressing and decompressing: it is sent uncompressed; ` +
        "this machine's memory or processor may be faulty",
    );
    return undefined;
  }

  /** The receiver does not know the coding: nothing is encoded any more. */
  refuse(): void {
    if (!this.#isRefused) this.#options.warn('the receiver does not take zstd: blocks are sent uncompressed');
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
    // Small bodies take as long as large ones at first: that a line is slow is only believed of a plain one.
    this.#level = this.#plain.ms === 0 && level > 1 ? 1 : level;
    return this.#level;
  }

  /** So slow that encoding in vain costs nothing: what a sample has missed is worth more. */
  #isLineSlow(): boolean {
    if (this.#plain.ms === 0) return false;
    const cores = Math.min(this.#options.cores, Math.max(1, this.#lanes));
    return cores * this.#encodeBytesPerSecond > SLOW_LINE_TIMES * (this.#lineBytesPerSecond() ?? Infinity);
  }

  /** @returns undefined while nothing was sent. */
  #lineBytesPerSecond(): number | undefined {
    // A small body takes as long as a large one where the receiver is the limit: the better one tells.
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

/** Encoded bytes for one plain byte, in pieces from all over the block, at level 1. */
export function shareOfSample(bytes: Buffer): number {
  const count = Math.max(1, Math.min(SAMPLE_PIECES_MAX, Math.floor(bytes.length / SAMPLE_EVERY_BYTES)));
  const stride = Math.floor(bytes.length / count);
  const pieces = Array.from({ length: count }, (_, at) =>
    bytes.subarray(at * stride, at * stride + SAMPLE_PIECE_BYTES),
  );
  const sample = Buffer.concat(pieces);
  const encoded = zstdCompressSync(sample, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return encoded.length / Math.max(1, sample.length);
}
