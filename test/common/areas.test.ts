import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  SOURCE_ERROR_RANGES_MAX,
  areasOutside,
  areasWithin,
  bytesOf,
  coarsened,
  formatAreas,
  joinAreas,
  parseAreas,
  parseSourceErrors,
  type Area,
} from '../../common/areas.ts';
import { coded } from '../support/coded.ts';

const SIZE = 200;
const anyAreas = fc
  .array(fc.tuple(fc.nat(SIZE - 1), fc.integer({ min: 1, max: 20 })), { maxLength: 12 })
  .map((areas) => areas.map(([from, length]): Area => [from, Math.min(length, SIZE - from)]));

/** The bytes that they cover. */
function bytesIn(areas: readonly Area[]): Set<number> {
  return new Set(areas.flatMap(([offset, length]) => Array.from({ length }, (_, at) => offset + at)));
}

test('joined areas cover the same bytes, in order, with gaps between them', () => {
  fc.assert(
    fc.property(anyAreas, (areas) => {
      const joined = joinAreas(areas);
      assert.deepEqual(bytesIn(joined), new Set([...bytesIn(areas)].sort((a, b) => a - b)));
      for (const [at, [offset]] of joined.entries()) {
        const [before = -2, length = 1] = joined[at - 1] ?? [];
        assert(offset > before + length);
      }
    }),
  );
});

test('the parts within and outside are exact to the byte', () => {
  fc.assert(
    fc.property(anyAreas, anyAreas, fc.nat(SIZE), fc.nat(SIZE), (areas, others, offset, length) => {
      const [some, rest] = [joinAreas(areas), joinAreas(others)];
      const within = [...bytesIn(some)].filter((byte) => byte >= offset && byte < offset + length);
      assert.deepEqual(bytesIn(areasWithin(some, offset, length)), new Set(within));
      assert.deepEqual(bytesIn(areasOutside(some, rest)), bytesIn(some).difference(bytesIn(rest)));
    }),
  );
});

test('too many areas become few that cover them all; the narrowest gaps are closed first', () => {
  fc.assert(
    fc.property(anyAreas, fc.integer({ min: 1, max: 12 }), (areas, most) => {
      const joined = joinAreas(areas);
      const few = coarsened(joined, most);
      assert.equal(few.length, Math.min(joined.length, most));
      assert.deepEqual(areasOutside(joined, few), []);
      if (joined.length <= most) assert.deepEqual(few, joined);
    }),
  );
  const areas: Area[] = [
    [0, 10],
    [100, 10],
    [115, 10],
    [300, 10],
  ];
  assert.deepEqual(coarsened(areas, 3), [
    [0, 10],
    [100, 25],
    [300, 10],
  ]);
});

const BLOCK = { offset: 65_536, lengthBytes: 65_536, sizeBytes: 10_000_000 };
const LAST = { offset: 65_536, lengthBytes: 700, sizeBytes: 65_536 + 700 };

test('the header is read as it was written, including an odd end', () => {
  assert.deepEqual(parseSourceErrors(undefined, BLOCK), []);
  const areas: Area[] = [
    [65_536, 512],
    [66_560, 1024],
  ];
  assert.equal(formatAreas(areas), '65536+512, 66560+1024');
  assert.deepEqual(parseSourceErrors(formatAreas(areas), BLOCK), areas);
  assert.deepEqual(parseSourceErrors('65536+512,66048+512', BLOCK), [[65_536, 1024]]);
  assert.deepEqual(parseSourceErrors('66048+188', LAST), [[66_048, 188]]);
  assert.equal(formatAreas(areas, 1), '65536+512 and 1 more');
});

test('an impossible header is a bad request', () => {
  const many = Array.from({ length: SOURCE_ERROR_RANGES_MAX + 1 }, (_, at) => `${at * 1024}+512`).join();
  for (const value of [
    '',
    ' ',
    'x',
    '65536',
    '65536+',
    '65536+0',
    '65536+512,',
    '065536+512',
    '-1+512',
    '65536-512',
    '65536+512;66560+512',
    '0x10000+512',
    '65537+512',
    '65536+511',
    '65536+700',
    '65024+512',
    '131072+512',
    '130560+1024',
    '66560+512, 65536+512',
    '65536+1024, 66048+512',
    '99999999999999999999+512',
    many,
  ]) {
    assert.throws(() => parseSourceErrors(value, BLOCK), coded('bad-request'), value);
  }
  assert.throws(() => parseSourceErrors('66048+187', LAST), coded('bad-request'));
});

test('any header gives areas of whole sectors within the block, or is refused', () => {
  const item = fc.tuple(fc.nat(200_000), fc.nat(3000)).map(([offset, length]) => `${offset}+${length}`);
  const whole = fc
    .tuple(fc.integer({ min: 120, max: 260 }), fc.nat(5))
    .map(([sector, count]) => `${sector * 512}+${count * 512}`);
  const value = fc.oneof(fc.string(), fc.array(fc.oneof(item, whole), { maxLength: 3 }).map(String));
  fc.assert(
    fc.property(value, (text) => {
      let areas: Area[];
      try {
        areas = parseSourceErrors(text, BLOCK);
      } catch (error) {
        assert.equal(coded('bad-request')(error), true);
        return;
      }
      assert.deepEqual(areasWithin(areas, BLOCK.offset, BLOCK.lengthBytes), areas);
      assert(areas.every(([offset, length]) => offset % 512 === 0 && length % 512 === 0));
      assert(bytesOf(areas) > 0);
    }),
    { numRuns: 2000 },
  );
});

test('areas in a response are ascending, apart and within the source, or are refused', () => {
  assert.deepEqual(
    parseAreas(
      [
        [0, 5],
        [6, 4],
      ],
      10,
      2,
    ),
    [
      [0, 5],
      [6, 4],
    ],
  );
  for (const wrong of [
    [
      [0, 5],
      [5, 5],
    ],
    [
      [6, 4],
      [0, 5],
    ],
    [[0, 11]],
    [[0, 0]],
    [
      [0, 1],
      [2, 1],
      [4, 1],
    ],
    'x',
    null,
  ]) {
    assert.equal(parseAreas(wrong, 10, 2), undefined, JSON.stringify(wrong));
  }
});
