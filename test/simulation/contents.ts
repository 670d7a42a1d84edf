/**
 * The content of blocks. A sector is identified by its stamp, its first four bytes; the rest of it is zeros.
 * So a block is sixteen numbers for the fake disks, and a run spends no time on copying and hashing padding.
 */
import { hash } from 'node:crypto';
import { DIGEST_ALGORITHMS, digestNow, type BlockDigest } from '../../common/digest/digest.ts';
import { blockCountOf, blockIndexOf, lengthOf, type Geometry } from '../../common/geometry.ts';

export const SECTOR_BYTES = 4096;
/** In a block of the smallest size, the only one used here. */
export const SECTORS_MAX = 16;
const STAMPS_A_SECTOR = SECTOR_BYTES / 4;

/** One number for each sector; 0 for a sector of zeros. */
export type Stamps = Uint32Array;

/** The stamps in these bytes. @param bytes a multiple of 4, aligned to 4. */
export function readStamps(bytes: Uint8Array): Stamps {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const stamps = new Uint32Array(Math.ceil(bytes.length / SECTOR_BYTES));
  for (let at = 0; at < stamps.length; at++) stamps[at] = words[at * STAMPS_A_SECTOR] ?? 0;
  return stamps;
}

export function fillStamps(bytes: Uint8Array, stamps: Stamps): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let at = 0; at < stamps.length; at++) words[at * STAMPS_A_SECTOR] = stamps[at] ?? 0;
}

export function areEqual(a: Stamps, b: Stamps): boolean {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return a.length === b.length;
}

/**
 * Digests of stamped blocks, synchronously. Zeros have the digest that the product computes for them; it
 * depends only on the length and is kept for all runs that share the object.
 */
export class BlockDigests {
  readonly #ofZeros = new Map<number, Buffer<ArrayBuffer>>();

  of(stamps: Stamps, lengthBytes: number): Buffer<ArrayBuffer> {
    if (stamps.every((stamp) => stamp === 0)) return this.#zeros(lengthBytes);
    const words = new Uint32Array(stamps.length + 1);
    words.set(stamps);
    words[stamps.length] = lengthBytes;
    return Buffer.from(hash('sha256', Buffer.from(words.buffer), 'buffer'));
  }

  /** For both ends: the same under both names. */
  readonly ports: readonly BlockDigest[] = DIGEST_ALGORITHMS.map((algorithm) => ({
    algorithm,
    now: (bytes) => this.ofBytes(bytes),
    // oxlint-disable-next-line require-await
    of: async (bytes) => this.ofBytes(bytes),
  }));

  ofBytes(bytes: Uint8Array): Buffer<ArrayBuffer> {
    return this.of(readStamps(bytes), bytes.length);
  }

  #zeros(lengthBytes: number): Buffer<ArrayBuffer> {
    let digest = this.#ofZeros.get(lengthBytes);
    if (digest === undefined)
      this.#ofZeros.set(lengthBytes, (digest = Buffer.from(digestNow(Buffer.alloc(lengthBytes)))));
    return digest;
  }
}

/** More than the bytes of a block. */
const LENGTHS = 2 ** 17;

/** The sectors of a block that are not zero. */
const SHAPES = ['full', 'first', 'last', 'full', 'odd'] as const;

/**
 * The contents of a source in the course of a run: one or more versions of each block; version 0 is zeros.
 * A block of a pipe that has ended early is the beginning of such a version.
 */
export class Contents {
  readonly blockSizeBytes: number;
  /** Of the source at present. */
  sizeBytes: number;
  readonly digests: BlockDigests;
  readonly #distinctBlocks: number;
  readonly #byKey = new Map<number, Stamps>();
  readonly #byDigest = new Map<string, { index: number; stamps: Stamps }[]>();

  /** @param distinctBlocks so many blocks of a version differ; the others repeat them. */
  constructor(geometry: Geometry, digests: BlockDigests, distinctBlocks = Infinity) {
    this.#distinctBlocks = distinctBlocks;
    this.blockSizeBytes = geometry.blockSizeBytes;
    this.sizeBytes = geometry.sizeBytes;
    this.digests = digests;
  }

  get blockCount(): number {
    return blockCountOf(this);
  }

  lengthOf(index: number): number {
    return lengthOf(blockIndexOf(index, this), this);
  }

  of(index: number, version: number): Stamps {
    const lengthBytes = this.lengthOf(index);
    const key = (version * 65536 + index) * LENGTHS + lengthBytes;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const stamps = new Uint32Array(Math.ceil(lengthBytes / SECTOR_BYTES));
    // `% Infinity` changes nothing.
    const content = index % this.#distinctBlocks;
    const shape = SHAPES[(content + version) % SHAPES.length];
    for (let at = 0; at < stamps.length; at++) {
      const isZero =
        version === 0 ||
        (shape === 'first' && at > 0) ||
        (shape === 'last' && at < stamps.length - 1) ||
        (shape === 'odd' && stamps.length > 1 && at % 2 === 0);
      if (!isZero) stamps[at] = ((version & 0xff) << 20) | (content << 8) | at;
    }
    this.#byKey.set(key, stamps);
    this.#know(index, stamps, lengthBytes);
    return stamps;
  }

  digestOf(index: number, version: number): Buffer {
    return this.digests.of(this.of(index, version), this.lengthOf(index));
  }

  /** The content with this digest at this place; undefined if the source never had it. */
  withDigest(index: number, digest: Buffer): Stamps | undefined {
    return this.#byDigest.get(digest.toString('latin1'))?.find((each) => each.index === index)?.stamps;
  }

  /** Whether the source ever had exactly this at this place. */
  isOf(index: number, stamps: Stamps, lengthBytes: number): boolean {
    return this.withDigest(index, this.digests.of(stamps, lengthBytes)) !== undefined;
  }

  /** A pipe has ended within a block. */
  addStart(index: number, version: number, lengthBytes: number): void {
    const start = this.of(index, version).subarray(0, Math.ceil(lengthBytes / SECTOR_BYTES));
    this.#know(index, start, lengthBytes);
  }

  #know(index: number, stamps: Stamps, lengthBytes: number): void {
    const digest = this.digests.of(stamps, lengthBytes).toString('latin1');
    const same = this.#byDigest.get(digest) ?? [];
    same.push({ index, stamps });
    this.#byDigest.set(digest, same);
  }
}
