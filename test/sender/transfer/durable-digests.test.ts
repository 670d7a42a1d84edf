import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DURABLE_DIGESTS_MAX, DurableDigests } from '../../../sender/transfer/durable-digests.ts';
import { prng } from '../../support/prng.ts';

function digestsOf(count: number): Buffer[] {
  const random = prng(5);
  return Array.from({ length: count }, () => random.bytes(32));
}

test('most digests of a disk are found, and what is found is right', () => {
  const digests = digestsOf(5000);
  const durable = new DurableDigests(digests.length);
  for (const [index, digest] of digests.entries()) durable.add(digest, index);
  let found = 0;
  for (const [index, digest] of digests.entries()) {
    const at = durable.lookUp(digest);
    if (at === undefined) continue;
    assert.equal(at, index);
    found++;
  }
  assert(found > digests.length * 0.95, `${found} of ${digests.length}`);
  for (const digest of digestsOf(6000).slice(5000)) assert.equal(durable.lookUp(digest), undefined);
});

test('block 0 and digests of zeros are entries like any others', () => {
  const durable = new DurableDigests(1);
  const zeros = Buffer.alloc(32);
  assert.equal(durable.lookUp(zeros), undefined);
  durable.add(zeros, 0);
  assert.equal(durable.lookUp(zeros), 0);
});

test('the last block with a digest counts, and a removed one is not found', () => {
  const durable = new DurableDigests(100);
  const [one, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 1)];
  // In the same place.
  other[7] = 2;
  durable.add(one, 3);
  durable.add(other, 4);
  durable.add(one, 5);
  assert.deepEqual([durable.lookUp(one), durable.lookUp(other)], [5, 4]);
  durable.remove(one);
  assert.deepEqual([durable.lookUp(one), durable.lookUp(other)], [undefined, 4]);
  durable.remove(one);
  durable.add(one, 6);
  assert.deepEqual([durable.lookUp(one), durable.lookUp(other)], [6, 4]);
});

test('a full table keeps what was added last', () => {
  const durable = new DurableDigests(1);
  const digests = digestsOf(1000);
  for (const [index, digest] of digests.entries()) durable.add(digest, index);
  assert.equal(durable.lookUp(digests.at(-1) ?? Buffer.alloc(32)), 999);
  const found = digests.filter((digest) => durable.lookUp(digest) !== undefined);
  assert(found.length <= 8, String(found.length));
});

test('the table of the largest disk takes 12 MiB', () => {
  const before = process.memoryUsage().arrayBuffers;
  const durable = new DurableDigests(1e9);
  const bytes = process.memoryUsage().arrayBuffers - before;
  durable.add(Buffer.alloc(32, 255), 1e9 - 1);
  assert.equal(durable.lookUp(Buffer.alloc(32, 255)), 1e9 - 1);
  assert(bytes <= 12 * DURABLE_DIGESTS_MAX + 65_536, `${bytes} bytes`);
});
