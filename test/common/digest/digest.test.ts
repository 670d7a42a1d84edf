import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  BLAKE3,
  DIGESTS,
  DIGEST_BYTES,
  RootDigest,
  SHA256,
  ZeroDigests,
  digestNow,
} from '../../../common/digest/digest.ts';

const MIB = 1024 * 1024;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('digests are SHA-256, on the pool and synchronously', async () => {
  // FIPS 180-2, appendix B.1, and the digest of no bytes.
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  const nothing = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  for (const [text, hex] of [
    ['abc', abc],
    ['', nothing],
  ] as const) {
    assert.equal((await SHA256.of(Buffer.from(text))).toString('hex'), hex);
    assert.equal(digestNow(Buffer.from(text)).toString('hex'), hex);
  }
  const view = Buffer.alloc(100, 7).subarray(10, 20);
  assert.equal((await SHA256.of(view)).toString('hex'), sha256(view), 'only the view');
});

test('BLAKE3 agrees with its published test vectors, and hashes only the view', async () => {
  assert.ok(BLAKE3 !== undefined, 'npm ci installs @napi-rs/blake-hash');
  // test_vectors.json of the BLAKE3 team: `input_len` bytes that count from 0 to 250, over and over.
  for (const [length, hex] of [
    [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
    [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
    [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
    [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
    [102_400, 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085'],
  ] as const) {
    const around = Buffer.alloc(length + 20, 0xff);
    const view = around.subarray(10, 10 + length);
    for (let at = 0; at < length; at++) view[at] = at % 251;
    assert.equal((await BLAKE3.of(view)).toString('hex'), hex, `${length}`);
    assert.equal(BLAKE3.now(view).toString('hex'), hex, `${length}`);
  }
  assert.deepEqual(DIGESTS, [SHA256, BLAKE3]);
  const geometry = { sizeBytes: MIB + 512, blockSizeBytes: MIB };
  const zeros = new ZeroDigests(geometry, BLAKE3);
  assert.deepEqual(
    [zeros.of(0), zeros.of(1)],
    [BLAKE3.now(Buffer.alloc(MIB)), BLAKE3.now(Buffer.alloc(512))],
  );
});

test('digests of zero blocks are those of as many zeros', () => {
  const block = 65_536;
  for (const [sizeBytes, index, zeros] of [
    [1, 0, 1],
    [511, 0, 511],
    [block - 1, 0, block - 1],
    [block, 0, block],
    [block + 1, 0, block],
    [block + 1, 1, 1],
    [3 * block - 512, 1, block],
    [3 * block - 512, 2, block - 512],
  ] as const) {
    const digests = new ZeroDigests({ sizeBytes, blockSizeBytes: block }, SHA256);
    assert.equal(digests.of(index).toString('hex'), sha256(Buffer.alloc(zeros)), `${sizeBytes}: ${index}`);
  }
  assert.equal(new ZeroDigests({ sizeBytes: 0, blockSizeBytes: block }, SHA256).full.length, DIGEST_BYTES);
  // Known to everyone who has copied an empty disk.
  const known = new ZeroDigests({ sizeBytes: MIB, blockSizeBytes: MIB }, SHA256).of(0).toString('hex');
  assert.equal(known, '30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58');
});

test('the root is the SHA-256 of all digests in index order, in whatever order they arrive', () => {
  const orders = fc.nat(40).chain((count) => {
    const indexes = Array.from({ length: count }, (_, at) => at);
    return fc.shuffledSubarray(indexes, { minLength: count });
  });
  fc.assert(
    fc.property(orders, (order) => {
      const digests = order.map((_, index) => digestNow(Buffer.from(`block ${index}`)));
      const root = new RootDigest();
      const seen = new Set<number>();
      for (const index of order) {
        const lent = Buffer.from(digests[index] ?? '');
        root.add(index, lent);
        // The caller reuses its buffer.
        lent.fill(0);
        seen.add(index);
        let complete = 0;
        while (seen.has(complete)) complete++;
        assert.equal(root.count, complete);
      }
      assert.equal(root.finish().toString('hex'), sha256(Buffer.concat(digests)));
    }),
  );
});

test('the root of an empty disk is the SHA-256 of no bytes', () => {
  assert.equal(new RootDigest().finish().toString('hex'), sha256(Buffer.alloc(0)));
});
