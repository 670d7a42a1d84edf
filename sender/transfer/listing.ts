/**
 * What is on the target already: the receiver's bulk listing, a page at a time, because a disk has millions.
 */
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { LISTING_COUNT_MAX, isAbsentDigest } from '../../common/protocol/protocol.ts';

/** The lanes work within a few blocks of each other: the page at hand, and the one before or after it. */
const PAGES_MAX = 2;

export class Listing {
  readonly #fetchPage: (from: number) => Promise<Buffer>;
  readonly #pages = new Map<number, Promise<Buffer>>();

  /** @param fetchPage gets `LISTING_COUNT_MAX` digests from a block on, fewer where the blocks end. */
  constructor(fetchPage: (from: number) => Promise<Buffer>) {
    this.#fetchPage = fetchPage;
  }

  /**
   * Digest of what is durable in this place, undefined when nothing is. Failures of the fetch come through.
   */
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
