import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { PROVE_BLOCKS_MAX } from '../../../common/protocol/protocol.ts';
import { ProofSample } from '../../../sender/transfer/proof-sample.ts';
import { prng } from '../../support/prng.ts';

const NONCE = '01'.repeat(32);
const MIB = 1024 * 1024;

function blockOf(index: number): { index: number; bytes: Buffer<ArrayBuffer>; isZero: boolean } {
  return { index, bytes: Buffer.from(`block ${index}`), isZero: false };
}

test('of few blocks all but zeros are in the sample, with the digest of nonce and bytes', async () => {
  const sample = new ProofSample({ nonce: NONCE, random: () => assert.fail('no choice') }, MIB);
  for (let index = 0; index < 9; index++) await sample.offer({ ...blockOf(index), isZero: index % 3 === 0 });
  assert.deepEqual(
    sample.blocks,
    [1, 2, 4, 5, 7, 8].map((index) => {
      return { index, digest: digestNow(Buffer.from(`${NONCE}block ${index}`)) };
    }),
  );
});

test('of many blocks each has the same chance, also while several lanes offer them', async () => {
  const random = prng(3);
  const [runs, total] = [100, 320];
  const hits: number[] = Array(10).fill(0);
  for (let run = 0; run < runs; run++) {
    const sample = new ProofSample({ nonce: NONCE, random: (below) => random.below(below) }, MIB);
    await Promise.all(Array.from({ length: total }, async (_, index) => await sample.offer(blockOf(index))));
    assert.equal(new Set(sample.blocks.map(({ index }) => index)).size, PROVE_BLOCKS_MAX);
    for (const { index } of sample.blocks) {
      const tenth = Math.floor((index * 10) / total);
      hits[tenth] = (hits[tenth] ?? 0) + 1;
    }
  }
  const mean = (runs * PROVE_BLOCKS_MAX) / 10;
  for (const count of hits) assert(Math.abs(count - mean) < mean * 0.15, hits.join());
});

test('large blocks are fewer, so that the receiver need not read for long', async () => {
  const random = prng(4);
  const sample = new ProofSample({ nonce: NONCE, random: (below) => random.below(below) }, 16 * MIB);
  for (let index = 0; index < 100; index++) await sample.offer(blockOf(index));
  assert.equal(sample.blocks.length, 16);
});
