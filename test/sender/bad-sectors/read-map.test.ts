import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ReadMap, type ReadStatus } from '../../../sender/bad-sectors/read-map.ts';

const SIZE = 40;

interface Step {
  readonly kind: 'unreadable' | 'read' | 'durable' | 'was-';
  readonly offset: number;
  readonly length: number;
}

const anyStep: fc.Arbitrary<Step> = fc
  .record({
    kind: fc.constantFrom('unreadable', 'read', 'durable', 'was-'),
    offset: fc.nat(SIZE - 1),
    length: fc.integer({ min: 1, max: 12 }),
  })
  .map(({ kind, offset, length }) => ({ kind, offset, length: Math.min(length, SIZE - offset) }));

/** One status for each byte. */
function expand(map: ReadMap): ReadStatus[] {
  return map.areas().flatMap(({ length, status }) => Array.from({ length }, () => status));
}

function run(map: ReadMap, model: ReadStatus[], { kind, offset, length }: Step): void {
  const at = Array.from({ length }, (_, place) => offset + place);
  if (kind === 'unreadable') {
    for (const place of at) model[place] = '-';
    let [from, end] = [offset, offset + length];
    while (model[from - 1] === '-') from--;
    while (model[end] === '-') end++;
    assert.equal(map.noteUnreadable(offset, length), end - from);
  } else if (kind === 'read') {
    for (const place of at) model[place] = '+';
    map.noteRead(offset, length);
  } else if (kind === 'durable') {
    for (const place of at) if (model[place] !== '-') model[place] = '+';
    map.noteDurable(offset, length);
  } else {
    for (const place of at) model[place] = 'was-';
    map.load([{ offset, length, status: '-' }]);
  }
}

test('after any sequence of changes every byte has its last status', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => {
      const map = new ReadMap(SIZE);
      const model = Array.from({ length: SIZE }, (): ReadStatus => '?');
      for (const step of steps) {
        const before = map.areas();
        const { changes } = map;
        run(map, model, step);
        assert.deepEqual(expand(map), model);
        const areas = map.areas();
        assert(areas.every(({ status }, at) => status !== areas[at - 1]?.status));
        if (JSON.stringify(areas) !== JSON.stringify(before)) assert(map.changes > changes);
        const { offset, length } = step;
        const isRead = model.slice(offset, offset + length).every((status) => status === '+');
        assert.equal(map.isRead(offset, length), isRead);
        const isUntried = model.slice(offset, offset + length).every((status) => status === '?');
        assert.equal(map.isUntried(offset, length), isUntried);
      }
    }),
    { numRuns: 1000 },
  );
});

test('an empty source has no areas', () => {
  assert.deepEqual(new ReadMap(0).areas(), []);
});
