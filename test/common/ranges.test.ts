import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { countOf, formatRanges, parseRanges, rangesOf, type Range } from '../../common/ranges.ts';

/** The model: the indexes, one by one. */
function membersOf(ranges: readonly Range[]): number[] {
  return ranges.flatMap(([first, count]) => Array.from({ length: count }, (_, at) => first + at));
}

const anyJson = fc.oneof(
  fc.jsonValue(),
  fc.anything({ withNullPrototype: true, withBigInt: true, withSparseArray: true, withMap: true }),
  fc.array(fc.array(fc.oneof(fc.integer(), fc.double(), fc.jsonValue()), { maxLength: 3 }), { maxLength: 9 }),
);

test('ranges contain exactly the given indexes, each once, joined as far as possible', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(60), { maxLength: 80 }), (indexes) => {
      const ranges = rangesOf(indexes);
      const model = [...new Set(indexes)].sort((a, b) => a - b);
      assert.deepEqual(membersOf(ranges), model);
      assert.equal(countOf(ranges), model.length);
      for (const [at, [first, count]] of ranges.entries()) {
        const before = ranges[at - 1];
        assert(count > 0);
        assert(before === undefined || before[0] + before[1] < first, 'neighbours form one range');
      }
    }),
  );
});

test('indexes of large disks are joined as small ones are', () => {
  const edge = 2 ** 32 - 1;
  assert.deepEqual(rangesOf([edge, edge - 1, 0, 1, 1]), [
    [0, 2],
    [edge - 1, 2],
  ]);
  assert.deepEqual(rangesOf([]), []);
  assert.deepEqual(rangesOf(new Set([10, 9, 2])), [
    [2, 1],
    [9, 2],
  ]);
});

test('ranges written as JSON are read back', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(999)), (indexes) => {
      const ranges = rangesOf(indexes);
      assert.deepEqual(parseRanges(JSON.parse(JSON.stringify(ranges)), 1000, 1000), ranges);
    }),
  );
});

test('any input is read as ranges within the disk, or refused', () => {
  fc.assert(
    fc.property(anyJson, fc.nat(100), (value, blockCount) => {
      const ranges = parseRanges(value, blockCount, 5);
      if (ranges === undefined) return;
      assert(ranges.length <= 5);
      assert(membersOf(ranges).every((index) => Number.isInteger(index) && index >= 0 && index < blockCount));
    }),
    { numRuns: 300 },
  );
});

test('ranges from outside are refused as a whole if one of them is invalid', () => {
  const good: readonly Range[] = [
    [0, 1],
    [7, 3],
    [2, 1],
  ];
  assert.deepEqual(parseRanges(good, 10, 3), good);
  assert.deepEqual(parseRanges([], 0, 0), []);
  assert.equal(parseRanges(good, 9, 3), undefined, 'past the last block');
  assert.equal(parseRanges(good, 10, 2), undefined, 'too many');
  const wrong: readonly unknown[] = [
    [0, 0],
    [0, -1],
    [-1, 1],
    [0.5, 1],
    [0, 1.5],
    ['0', 1],
    [0, '1'],
    [0],
    [0, 1, 2],
    [NaN, 1],
    [0, Infinity],
    [2 ** 53, 1],
    [1, 2 ** 53 - 1],
    null,
    {},
    { 0: 0, 1: 1, length: 2 },
    [[0], [1]],
  ];
  for (const entry of wrong)
    assert.equal(parseRanges([[0, 1], entry], 10, 3), undefined, JSON.stringify(entry));
  for (const value of [undefined, null, '[[0,1]]', 1, {}, { length: 0 }]) {
    assert.equal(parseRanges(value, 10, 3), undefined);
  }
});

test('messages show the first ranges and the number of others', () => {
  assert.equal(formatRanges([]), '');
  assert.equal(formatRanges(rangesOf([7, 12, 13, 14, 15])), '7, 12-15');
  const many = rangesOf(Array.from({ length: 11 }, (_, at) => at * 2));
  assert.equal(formatRanges(many), '0, 2, 4, 6, 8, 10, 12, 14 and 3 more ranges');
  assert.equal(formatRanges(many, 10), '0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 1 more range');
});
