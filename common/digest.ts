/** SHA-256 of blocks, and the root: SHA-256 over all raw block digests in index order. */
import { createHash, hash, webcrypto } from 'node:crypto';
import { lengthOf, blockIndexOf, type Geometry } from './geometry.ts';

export const DIGEST_BYTES = 32;

/**
 * SHA-256 of one block's plain bytes. Runs on libuv's pool: 4 MiB would block the event loop for 2.3 ms.
 * @param bytes must not change until the promise settles.
 */
export async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<Buffer<ArrayBuffer>> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes));
}

/** How the operations hash a block; a simulation brings its own, which takes no real time. */
export type DigestBlock = typeof digestOf;

/** The same at once, for small inputs. */
export function digestNow(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/** Digests of all-zero blocks, of the two lengths that a geometry has; follows it when its size changes. */
export class ZeroDigests {
  readonly full: Buffer;
  readonly #geometry: Geometry;
  readonly #zeros: Buffer;
  #lastLength = 0;
  #last: Buffer;

  constructor(geometry: Geometry) {
    this.#geometry = geometry;
    this.#zeros = Buffer.alloc(geometry.blockSizeBytes);
    this.full = digestNow(this.#zeros);
    this.#last = this.full;
  }

  of(index: number): Buffer {
    const length = lengthOf(blockIndexOf(index, this.#geometry), this.#geometry);
    if (length === this.#geometry.blockSizeBytes) return this.full;
    if (length !== this.#lastLength) {
      this.#last = digestNow(this.#zeros.subarray(0, length));
      this.#lastLength = length;
    }
    return this.#last;
  }
}

/** Takes digests in any order and hashes them in index order; holds only those that came early. */
export class RootDigest {
  readonly #hash = createHash('sha256');
  readonly #early = new Map<number, Buffer>();
  #next = 0;

  /** @param digest 32 bytes, copied when it has to wait. */
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

  /** How many digests are in, without a gap. */
  get count(): number {
    return this.#next;
  }

  /** @returns 32 bytes. Ends the object's life. */
  finish(): Buffer {
    return this.#hash.digest();
  }
}
