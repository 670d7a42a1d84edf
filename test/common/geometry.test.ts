import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  BLOCK_COUNT_MAX,
  BLOCK_SIZE_BYTES_DEFAULT,
  BLOCK_SIZE_BYTES_MAX,
  BLOCK_SIZE_BYTES_MIN,
  blockCountOf,
  defaultBlockSizeFor,
  blockIndexOf,
  isBlockSize,
  isGeometry,
  lengthOf,
  offsetOf,
} from '../../common/geometry.ts';

const PIB_8 = Number.MAX_SAFE_INTEGER;
const blockSizes = fc.integer({ min: 16, max: 24 }).map((bits) => 2 ** bits);

test('the number of blocks and the length of the last one at the boundaries', () => {
  const block = 4 * 1024 * 1024;
  for (const [id, sizeBytes, blockSizeBytes, count, lastLength] of [
    ['one byte', 1, block, 1, 1],
    ['less than a sector', 511, block, 1, 511],
    ['a sector', 512, block, 1, 512],
    ['a byte less than a block', block - 1, block, 1, block - 1],
    ['a block', block, block, 1, block],
    ['a byte more than a block', block + 1, block, 2, 1],
    ['4 GiB', 2 ** 32, block, 1024, block],
    ['a byte more than 4 GiB', 2 ** 32 + 1, block, 1025, 1],
    ['most blocks', 2 ** 48, 2 ** 16, 2 ** 32, 2 ** 16],
    ['8 PiB less one byte', PIB_8, 2 ** 22, 2 ** 31, block - 1],
  ] as const) {
    const geometry = { sizeBytes, blockSizeBytes };
    assert.equal(isGeometry(geometry), true, id);
    assert.equal(blockCountOf(geometry), count, id);
    const last = blockIndexOf(count - 1, geometry);
    assert.equal(lengthOf(last, geometry), lastLength, id);
    assert.equal(offsetOf(last, geometry) + lastLength, sizeBytes, id);
  }
  assert.equal(blockCountOf({ sizeBytes: 0, blockSizeBytes: block }), 0);
});

test('block sizes are the powers of two from 64 KiB to 16 MiB', () => {
  const found: number[] = [];
  for (let bits = 0; bits < 53; bits++) if (isBlockSize(2 ** bits)) found.push(bits);
  assert.deepEqual(found, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
  assert(isBlockSize(BLOCK_SIZE_BYTES_MIN) && isBlockSize(BLOCK_SIZE_BYTES_MAX));
  assert(isBlockSize(BLOCK_SIZE_BYTES_DEFAULT));
  for (const wrong of [0, -65_536, 65_535, 65_537, 3 * 65_536, 2 ** 24 + 1, 2 ** 16 + 0.5, NaN, Infinity]) {
    assert.equal(isBlockSize(wrong), false, `${wrong}`);
  }
  fc.assert(fc.property(fc.integer({ min: 2 ** 16, max: 2 ** 24 }), isPowerOfTwoOnly));
});

/** From the bits, without a logarithm. */
function isPowerOfTwoOnly(bytes: number): boolean {
  return isBlockSize(bytes) === ((bytes & (bytes - 1)) === 0);
}

test('an impossible geometry is refused', () => {
  for (const [id, sizeBytes, blockSizeBytes, expected] of [
    ['nothing at all', 0, 2 ** 22, true],
    ['negative', -1, 2 ** 22, false],
    ['half a byte', 0.5, 2 ** 22, false],
    ['8 PiB', PIB_8 + 1, 2 ** 22, false],
    ['not a number', NaN, 2 ** 22, false],
    ['infinite', Infinity, 2 ** 22, false],
    ['no block size', 1, 0, false],
    ['2^32 blocks', BLOCK_COUNT_MAX * 2 ** 16, 2 ** 16, true],
    ['one block more', BLOCK_COUNT_MAX * 2 ** 16 + 1, 2 ** 16, false],
  ] as const) {
    assert.equal(isGeometry({ sizeBytes, blockSizeBytes }), expected, id);
  }
});

test('a block that does not exist has no index', () => {
  const geometry = { sizeBytes: 3 * 65_536, blockSizeBytes: 65_536 };
  for (const wrong of [-1, 3, 4, 1.5, NaN, Infinity, 2 ** 53]) {
    assert.throws(() => blockIndexOf(wrong, geometry), { name: 'AssertionError' }, `${wrong}`);
  }
  assert.throws(() => blockIndexOf(0, { ...geometry, sizeBytes: 0 }), { name: 'AssertionError' });
  assert.equal(blockIndexOf(2, geometry), 2);
});

test('blocks tile the disk exactly once', () => {
  fc.assert(
    fc.property(blockSizes, fc.nat(300), fc.nat(), (blockSizeBytes, blocks, rest) => {
      const geometry = { sizeBytes: blocks * blockSizeBytes + (rest % blockSizeBytes), blockSizeBytes };
      let end = 0;
      for (let at = 0; at < blockCountOf(geometry); at++) {
        const index = blockIndexOf(at, geometry);
        assert.equal(offsetOf(index, geometry), end);
        const length = lengthOf(index, geometry);
        assert(length >= 1 && length <= blockSizeBytes);
        assert(length === blockSizeBytes || at === blockCountOf(geometry) - 1, 'only the last may be short');
        end += length;
      }
      assert.equal(end, geometry.sizeBytes);
    }),
  );
});

test('every byte of a disk of any size is in the block of exact arithmetic', () => {
  fc.assert(
    fc.property(blockSizes, fc.maxSafeNat(), fc.maxSafeNat(), (blockSizeBytes, size, byte) => {
      const geometry = { sizeBytes: Math.max(1, size), blockSizeBytes };
      const at = byte % geometry.sizeBytes;
      const index = blockIndexOf(Number(BigInt(at) / BigInt(blockSizeBytes)), geometry);
      const offset = BigInt(index) * BigInt(blockSizeBytes);
      assert.equal(BigInt(offsetOf(index, geometry)), offset);
      assert(offset <= BigInt(at) && BigInt(at) < offset + BigInt(lengthOf(index, geometry)));
      const count = (BigInt(geometry.sizeBytes) + BigInt(blockSizeBytes) - 1n) / BigInt(blockSizeBytes);
      assert.equal(BigInt(blockCountOf(geometry)), count);
    }),
  );
});

test('a disk gets 256 blocks or more where that makes them 256 KiB to 4 MiB', () => {
  const [KIB, MIB, GIB] = [1024, 1024 ** 2, 1024 ** 3];
  for (const [sizeBytes, blockSizeBytes] of [
    [null, 4 * MIB],
    [0, 256 * KIB],
    [96 * MIB, 256 * KIB],
    [128 * MIB - 1, 256 * KIB],
    [128 * MIB, 512 * KIB],
    [256 * MIB, MIB],
    [GIB - 1, 2 * MIB],
    [GIB, 4 * MIB],
    [2 ** 42, 4 * MIB],
  ] as const) {
    assert.equal(defaultBlockSizeFor(sizeBytes), blockSizeBytes, `${sizeBytes}`);
  }
});
