import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIGEST_BYTES, digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { LISTING_COUNT_MAX } from '../../../common/protocol/protocol.ts';
import { Listing } from '../../../sender/transfer/listing.ts';

/** A receiver on which every third block is absent, and the requests to it. */
function receiver(blockCount: number): {
  asked: [number, number][];
  fetch: (from: number) => Promise<Buffer>;
} {
  const asked: [number, number][] = [];
  return {
    asked,
    fetch: (from) => {
      const count = Math.min(LISTING_COUNT_MAX, blockCount - from);
      asked.push([from, count]);
      const page = Buffer.alloc(count * DIGEST_BYTES);
      for (const index of [0, 1, 2, count - 1]) {
        if (index < count && (from + index) % 3 !== 2)
          digestFor(from + index).copy(page, index * DIGEST_BYTES);
      }
      return Promise.resolve(page);
    },
  };
}

function digestFor(index: number): Buffer {
  return digestNow(Buffer.from(`block ${index}`));
}

test('each block gets the digest at its place in the listing, or none', async () => {
  const { asked, fetch } = receiver(5);
  const listing = new Listing(fetch);
  assert.deepEqual(await listing.digestAt(0), digestFor(0));
  assert.deepEqual(await listing.digestAt(1), digestFor(1));
  assert.equal(await listing.digestAt(2), undefined, 'absent');
  assert.deepEqual(await listing.digestAt(4), digestFor(4));
  assert.deepEqual(asked, [[0, 5]], 'one page, up to the end of the disk');
});

test('a page is requested once, even by many lanes at the same time', async () => {
  const { asked, fetch } = receiver(3);
  const listing = new Listing(fetch);
  await Promise.all([0, 1, 2, 1, 0].map(async (index) => await listing.digestAt(index)));
  assert.deepEqual(asked, [[0, 3]]);
});

test('pages start at multiples of 65,536, and the last one ends with the disk', async () => {
  const blockCount = 2 * LISTING_COUNT_MAX + 2;
  const { asked, fetch } = receiver(blockCount);
  const listing = new Listing(fetch);
  for (const index of [LISTING_COUNT_MAX - 1, LISTING_COUNT_MAX, blockCount - 1]) {
    const expected = index % 3 === 2 ? undefined : digestFor(index);
    assert.deepEqual(await listing.digestAt(index), expected, `block ${index}`);
  }
  assert.deepEqual(asked, [
    [0, LISTING_COUNT_MAX],
    [LISTING_COUNT_MAX, LISTING_COUNT_MAX],
    [2 * LISTING_COUNT_MAX, 2],
  ]);
});

test('two pages are kept, for lanes on both sides of a boundary', async () => {
  const { asked, fetch } = receiver(3 * LISTING_COUNT_MAX);
  const listing = new Listing(fetch);
  const border = LISTING_COUNT_MAX;
  for (const index of [border - 1, border, border - 2, border + 1]) await listing.digestAt(index);
  assert.equal(asked.length, 2);
  await listing.digestAt(2 * border);
  await listing.digestAt(border);
  assert.equal(asked.length, 3);
  await listing.digestAt(0);
  assert.deepEqual(asked.at(-1), [0, LISTING_COUNT_MAX]);
});

test('a failure to fetch a page reaches every lane that waits for it', async () => {
  const failure = new TransferError('no-progress', 'gave up');
  const listing = new Listing(async () => await Promise.reject(failure));
  const results = await Promise.allSettled([listing.digestAt(0), listing.digestAt(1)]);
  assert.deepEqual(
    results.map((result) => result.status === 'rejected' && result.reason),
    [failure, failure],
  );
});
