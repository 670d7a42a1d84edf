/**
 * The digests that the target already has: the bulk listing of the receiver, page by page, as a disk has
 * millions of blocks.
 */
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { LISTING_COUNT_MAX, isAbsentDigest } from '../../common/protocol/protocol.ts';

/** Lanes work within a few blocks of each other: the current page, and the one before or after it. */
const PAGES_MAX = 2;

export class Listing {
  readonly #fetchPage: (from: number) => Promise<Buffer>;
  readonly #pages = new Map<number, Promise<Buffer>>();

  /** @param fetchPage gets `LISTING_COUNT_MAX` digests from a block on, fewer at the end. */
  constructor(fetchPage: (from: number) => Promise<Buffer>) {
    this.#fetchPage = fetchPage;
  }

  /** @returns the digest of the durable block, undefined if there is none. @throws as `fetchPage` does. */
  async digestAt(index: number): Promise<Buffer | undefined> {
    const from = index - (index % LISTING_COUNT_MAX);
    let page = this.#pages.get(from);
    if (page === undefined) {
      page = this.#fetchPage(from);
      this.#pages.set(from, page);
      const [oldest] = this.#pages.keys();
      if (this.#pages.size > PAGES_MAX && oldest !== undefined) this.#pages.delete(oldest);
    }
    const at = (index - from) * DIGEST_BYTES;
    const digest = (await page).subarray(at, at + DIGEST_BYTES);
    return isAbsentDigest(digest) ? undefined : digest;
  }
}
