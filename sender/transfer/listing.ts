/**
 * The digests that the target already has: the bulk listing of the receiver, page by page, as a disk has
 * millions of blocks.
 */
import { DIGEST_BYTES, digestNow } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { Retries } from './retry.ts';
import { LISTING_COUNT_MAX, isAbsentDigest } from '../../common/protocol/protocol.ts';

/** Lanes work within a few blocks of each other: the current page, and the one before or after it. */
const PAGES_MAX = 2;

export class Listing {
  readonly #fetchPage: (from: number) => Promise<Buffer>;
  readonly #pages = new Map<number, Promise<Buffer>>();

  /** @param page gets `LISTING_COUNT_MAX` digests from a block on, fewer at the end. */
  constructor(page: (from: number) => Promise<Buffer>) {
    this.#fetchPage = page;
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

export interface ListingParts {
  readonly control: ReceiverClient;
  readonly retries: Retries;
  readonly signal: AbortSignal;
}

/** @returns up to `LISTING_COUNT_MAX` digests from a block on. */
export async function fetchPage(
  { control, retries, signal }: ListingParts,
  from: number,
  blockCount: number,
): Promise<Buffer> {
  const count = Math.min(LISTING_COUNT_MAX, blockCount - from);
  return await retries.run(signal, async () => await control.listDigests(from, count, signal));
}

/**
 * The digests of all blocks of a sealed transfer.
 * @throws TransferError `bad-answer` if they are not those that the receipt was signed over.
 */
export async function fetchDigests(
  parts: ListingParts,
  { blockCount, root }: { blockCount: number; root: Buffer },
): Promise<Buffer> {
  const pages: Buffer[] = [];
  for (let from = 0; from < blockCount; from += LISTING_COUNT_MAX) {
    pages.push(await fetchPage(parts, from, blockCount));
  }
  const digests = Buffer.concat(pages);
  if (digestNow(digests).equals(root)) return digests;
  throw new TransferError('bad-answer', 'the digests that the receiver lists are not those of its receipt');
}
