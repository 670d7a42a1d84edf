import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isZero } from '../../../common/io/zeros.ts';

const STEP = 64 * 1024;

test('one bit anywhere distinguishes a block from zeros', () => {
  for (const length of [1, 511, 512, STEP - 1, STEP, STEP + 1, 2 * STEP, 3 * STEP + 17]) {
    const bytes = Buffer.alloc(length);
    assert.equal(isZero(bytes), true, `${length}`);
    const edges = [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP - 1, 2 * STEP, length - 2, length - 1];
    for (const at of edges.filter((edge) => edge >= 0 && edge < length)) {
      for (const bit of [1, 0x80]) {
        bytes[at] = bit;
        assert.equal(isZero(bytes), false, `${bit} at ${at} of ${length}`);
        bytes[at] = 0;
      }
    }
  }
});

test('only the bytes of the view count', () => {
  const bytes = Buffer.alloc(3 * STEP, 1);
  bytes.fill(0, STEP + 5, 2 * STEP + 9);
  assert.equal(isZero(bytes.subarray(STEP + 5, 2 * STEP + 9)), true);
  assert.equal(isZero(bytes.subarray(STEP + 4, 2 * STEP + 9)), false);
  assert.equal(isZero(bytes.subarray(STEP + 5, 2 * STEP + 10)), false);
  assert.equal(isZero(bytes.subarray(0, 0)), true);
});
