/** Digests of blocks, SHA-256 or BLAKE3, and the root: SHA-256 over all raw block digests in index order. */
import { createHash, hash, webcrypto } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { blake3, type Blake3 } from './blake3.ts';
import { lengthOf, blockIndexOf, type Geometry } from '../geometry.ts';

/** Of both algorithms. */
export const DIGEST_BYTES = 32;

/** As RFC 9530 names them; BLAKE3 is not in its registry. */
export const DIGEST_ALGORITHMS = ['sha-256', 'blake3'] as const;
export type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number];

/**
 * Hashes a block; a simulation passes its own, which takes no real time.
 * @param bytes must not change until the promise settles. @returns 32 bytes.
 */
export type DigestBlock = (bytes: Uint8Array<ArrayBuffer>) => Promise<Buffer<ArrayBuffer>>;

/** SHA-256, synchronously, for small inputs. */
export function digestNow(bytes: Uint8Array): Buffer<ArrayBuffer> {
  return hash('sha256', bytes, 'buffer');
}

/** One way to hash the blocks of a transfer. */
export interface BlockDigest {
  readonly algorithm: DigestAlgorithm;
  /** Of a block, where it blocks the event loop least. 32 bytes. */
  readonly of: DigestBlock;
  /** The same synchronously, for small inputs. */
  readonly now: (bytes: Uint8Array) => Buffer;
}

/**
 * On libuv's pool if there are processors for it: hashing 4 MiB would block the event loop for 2.5 ms,
 * copying them for the pool takes 1.6 ms. With two processors, which both sides keep busy anyway, the copy is
 * a loss.
 */
export const SHA256: BlockDigest =
  availableParallelism() > 2
    ? { algorithm: 'sha-256', of: onPool, now: digestNow }
    : atOnce('sha-256', digestNow);

async function onPool(bytes: Uint8Array<ArrayBuffer>): Promise<Buffer<ArrayBuffer>> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes));
}

/** On the event loop: 4 MiB take 0.65 ms; a separate thread would take 0.73 ms, and need shared memory. */
export const BLAKE3: BlockDigest | undefined = blake3 === undefined ? undefined : atOnce('blake3', blake3);

function atOnce(algorithm: DigestAlgorithm, now: Blake3): BlockDigest {
  // oxlint-disable-next-line require-await
  return { algorithm, now, of: async (bytes) => now(bytes) };
}

/** Those that this machine can compute. */
export const DIGESTS: readonly BlockDigest[] = BLAKE3 === undefined ? [SHA256] : [SHA256, BLAKE3];

/** @param name from a person or another program. */
export function digestIn(digests: readonly BlockDigest[], name: string | undefined): BlockDigest | undefined {
  return digests.find(({ algorithm }) => algorithm === name);
}

export function isDigestAlgorithm(value: unknown): value is DigestAlgorithm {
  return DIGEST_ALGORITHMS.some((algorithm) => algorithm === value);
}

/** Digests of all-zero blocks of the two lengths in a geometry; follows changes of its size. */
export class ZeroDigests {
  readonly full: Buffer;
  readonly #geometry: Geometry;
  readonly #now: BlockDigest['now'];
  readonly #zeros: Buffer;
  #lastLength = 0;
  #last: Buffer;

  constructor(geometry: Geometry, digest: Pick<BlockDigest, 'now'>) {
    this.#geometry = geometry;
    this.#now = digest.now;
    this.#zeros = Buffer.alloc(geometry.blockSizeBytes);
    this.full = digest.now(this.#zeros);
    this.#last = this.full;
  }

  of(index: number): Buffer {
    const length = lengthOf(blockIndexOf(index, this.#geometry), this.#geometry);
    if (length === this.#geometry.blockSizeBytes) return this.full;
    if (length !== this.#lastLength) {
      this.#last = this.#now(this.#zeros.subarray(0, length));
      this.#lastLength = length;
    }
    return this.#last;
  }
}

/** Takes digests in any order and hashes them in index order; keeps only those that arrive early. */
export class RootDigest {
  readonly #hash = createHash('sha256');
  readonly #early = new Map<number, Buffer>();
  #next = 0;

  /** @param digest 32 bytes, copied if it has to wait. */
  add(index: number, digest: Buffer): void {
    if (index !== this.#next) {
      this.#early.set(index, Buffer.from(digest));
      return;
    }
    this.#hash.update(digest);
    this.#next++;
    for (let held = this.#early.get(this.#next); held !== undefined; held = this.#early.get(this.#next)) {
      this.#early.delete(this.#next);
      this.#hash.update(held);
      this.#next++;
    }
  }

  /** How many digests have been hashed, without a gap. */
  get count(): number {
    return this.#next;
  }

  /** @returns 32 bytes. Nothing can be added afterwards. */
  finish(): Buffer {
    return this.#hash.digest();
  }
}
