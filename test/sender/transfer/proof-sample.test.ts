import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { PROVE_AREAS_MAX } from '../../../common/protocol/protocol.ts';
import { ProofSample } from '../../../sender/transfer/proof-sample.ts';
import { prng } from '../../support/prng.ts';

const NONCE = '01'.repeat(32);
const PART_BYTES = 64 * 1024;
const BLOCK_BYTES = 4 * PART_BYTES;

function blockOf(index: number): { index: number; bytes: Buffer<ArrayBuffer>; isZero: boolean } {
  return { index, bytes: Buffer.from(`block ${index}`), isZero: false };
}

test('of few blocks all but zeros are in the sample, with the digest of nonce and bytes', () => {
  const sample = new ProofSample({ nonce: NONCE, random: () => assert.fail('no choice') }, BLOCK_BYTES);
  for (const index of [7, 0, 1, 2, 3, 4, 5, 6, 8]) {
    sample.offer({ ...blockOf(index), isZero: index % 3 === 0 });
  }
  assert.deepEqual(
    sample.areas,
    [1, 2, 4, 5, 7, 8].map((index) => {
      return {
        area: [index * BLOCK_BYTES, 7],
        digest: digestNow(Buffer.from(`${NONCE}block ${index}`)),
      };
    }),
  );
});

test('of many blocks each has the same chance', () => {
  const random = prng(3);
  const [runs, total] = [100, 320];
  const hits: number[] = Array(10).fill(0);
  for (let run = 0; run < runs; run++) {
    const sample = new ProofSample({ nonce: NONCE, random: (below) => random.below(below) }, BLOCK_BYTES);
    for (let index = 0; index < total; index++) sample.offer(blockOf(index));
    const indexes = sample.areas.map(({ area: [offset] }) => offset / BLOCK_BYTES);
    assert.equal(new Set(indexes).size, PROVE_AREAS_MAX);
    for (const index of indexes) {
      const tenth = Math.floor((index * 10) / total);
      hits[tenth] = (hits[tenth] ?? 0) + 1;
    }
  }
  const mean = (runs * PROVE_AREAS_MAX) / 10;
  for (const count of hits) assert(Math.abs(count - mean) < mean * 0.15, hits.join());
});

test('of a large block a random part is taken, and none that is zeros while there is another', () => {
  const random = prng(4);
  const hits: number[] = Array(4).fill(0);
  for (let run = 0; run < 400; run++) {
    const sample = new ProofSample({ nonce: NONCE, random: (below) => random.below(below) }, BLOCK_BYTES);
    const bytes = Buffer.alloc(BLOCK_BYTES - 1, 1).fill(0, PART_BYTES, 2 * PART_BYTES);
    sample.offer({ index: 1, bytes, isZero: false });
    const [chosen] = sample.areas;
    assert(chosen !== undefined);
    const [offset, length] = chosen.area;
    const at = offset - BLOCK_BYTES;
    assert.equal(length, at === 3 * PART_BYTES ? PART_BYTES - 1 : PART_BYTES);
    const part = bytes.subarray(at, at + PART_BYTES);
    assert.deepEqual(chosen.digest, digestNow(Buffer.concat([Buffer.from(NONCE), part])));
    hits[at / PART_BYTES] = (hits[at / PART_BYTES] ?? 0) + 1;
  }
  const [first = 0, zeros, next = 0, last = 0] = hits;
  assert.equal(zeros, 0);
  // What would have been zeros goes to the next part.
  assert(first > 60 && next > 140 && last > 60, hits.join());
});
