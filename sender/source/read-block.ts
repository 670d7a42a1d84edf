/** One block of the source in memory with its digest, and the errors for a block that has changed. */
import { SOURCE_ERROR_RANGES_MAX, coarsened, type Area } from '../../common/areas.ts';
import { ZeroDigests, type BlockDigest, type DigestAlgorithm } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf, type Geometry } from '../../common/geometry.ts';
import { isZero } from '../../common/io/zeros.ts';
import type { Source } from './source.ts';

export interface ReadBlock {
  readonly index: number;
  /** Exactly the block; a view of the slab that it was read into. */
  readonly bytes: Buffer<ArrayBuffer>;
  readonly digest: Buffer;
  readonly algorithm: DigestAlgorithm;
  readonly isZero: boolean;
  /** Unreadable areas, which are zeros, as they are sent. */
  readonly unreadable: readonly Area[];
}

/** Computes what describes a block. */
export class BlockDescriber {
  readonly zeroDigests: ZeroDigests;
  readonly #digest: BlockDigest;

  constructor(geometry: Geometry, digest: BlockDigest) {
    this.#digest = digest;
    this.zeroDigests = new ZeroDigests(geometry, digest);
  }

  /** 32 bytes. */
  async digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<Buffer> {
    return await this.#digest.of(bytes);
  }

  /**
   * Whether it is zero is found by comparing bytes, never from maps of holes.
   * @param bytes exactly the block.
   */
  async describe(
    index: number,
    bytes: Buffer<ArrayBuffer>,
    unreadable: readonly Area[] = [],
  ): Promise<ReadBlock> {
    if (isZero(bytes)) return { ...this.zeros(index, bytes), unreadable };
    const { algorithm } = this.#digest;
    return { index, bytes, isZero: false, digest: await this.#digest.of(bytes), algorithm, unreadable };
  }

  /** A block of zeros; its bytes need not be kept. */
  zeros(index: number, bytes: Buffer<ArrayBuffer>): ReadBlock {
    const digest = this.zeroDigests.of(index);
    const { algorithm } = this.#digest;
    return { index, bytes, isZero: true, digest, algorithm, unreadable: [] };
  }
}

export class BlockReader {
  readonly describer: BlockDescriber;
  readonly #source: Source;
  readonly #geometry: Geometry;

  constructor(source: Source, geometry: Geometry, digest: BlockDigest) {
    this.#source = source;
    this.#geometry = geometry;
    this.describer = new BlockDescriber(geometry, digest);
  }

  /** @throws as the source does. */
  async read(index: number, into: Buffer<ArrayBuffer>, signal?: AbortSignal): Promise<ReadBlock> {
    const blockIndex = blockIndexOf(index, this.#geometry);
    const bytes = into.subarray(0, lengthOf(blockIndex, this.#geometry));
    const areas = await this.#source.read(bytes, offsetOf(blockIndex, this.#geometry), signal);
    return await this.describer.describe(index, bytes, coarsened(areas, SOURCE_ERROR_RANGES_MAX));
  }

  /** @returns how many whole blocks from this one on were read and are zeros, of at most `count`. */
  async countZeros(first: number, count: number): Promise<number> {
    const { blockSizeBytes, sizeBytes } = this.#geometry;
    const whole = Math.min(count, Math.floor(sizeBytes / blockSizeBytes) - first);
    if (whole <= 0) return 0;
    return (await this.#source.countZeros?.(first * blockSizeBytes, blockSizeBytes, whole)) ?? 0;
  }

  /** The error for a block that was read twice in this run with different results. */
  changed({ index, unreadable }: ReadBlock, wasUnreadable = false): TransferError {
    const offset = index * this.#geometry.blockSizeBytes;
    const { path } = this.#source.description;
    if (wasUnreadable || unreadable.length > 0) {
      const what = `block ${index} (offset ${offset}) of ${path} had other unreadable areas`;
      return new TransferError('source-changed', `${what} when it was read again`, {
        hint: 'run the same command again: it reads that block again',
      });
    }
    return new TransferError(
      'source-changed',
      `block ${index} (offset ${offset}) of ${path} changed while it was copied`,
      {
        hint: 'copy a snapshot or an unmounted disk; running the same command again sends what has changed',
      },
    );
  }
}
