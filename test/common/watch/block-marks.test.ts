import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_KINDS, kindOf, timesOf } from '../../../common/watch/block-kinds.ts';
import { BlockMarks } from '../../../common/watch/block-marks.ts';

const countOf = (marks: BlockMarks, kind: (typeof BLOCK_KINDS)[number]): number =>
  marks.counts[BLOCK_KINDS.indexOf(kind)] ?? 0;

test('kinds, times and counts of blocks, and the chunks that have changed', () => {
  const marks = new BlockMarks(5000);
  assert.deepEqual([marks.version, countOf(marks, 'absent')], [0, 5000]);
  marks.sending(4999);
  marks.sending(4999);
  marks.setAll([[0, 3]], 'zero');
  assert.deepEqual(
    [0, 1, 2].map((chunk) => marks.changedAt(chunk)),
    [5, 0, 2],
  );
  assert.equal(marks.version, 5);
  const last = marks.codesOf(2);
  assert.equal(last.length, 5000 - 2 * marks.chunkBlocks);
  assert.deepEqual([kindOf(last.at(-1) ?? 0), timesOf(last.at(-1) ?? 0)], ['sending', 2]);
  marks.set(4999, 'durable');
  assert.deepEqual([kindOf(marks.codesOf(2).at(-1) ?? 0), marks.times(4999)], ['durable', 2]);
  assert.deepEqual(
    [countOf(marks, 'absent'), countOf(marks, 'zero'), countOf(marks, 'durable'), countOf(marks, 'sending')],
    [4996, 3, 1, 0],
  );
  marks.replace('durable', 'verified');
  assert.deepEqual([countOf(marks, 'durable'), countOf(marks, 'verified')], [0, 1]);
  for (let time = 0; time < 40; time++) marks.sending(7);
  assert.equal(marks.times(7), 15, 'no more than fits, and no other kind');
  assert.equal(kindOf(marks.codesOf(0)[7] ?? 0), 'sending');
});

test('where the size is not known, it grows with the blocks', () => {
  const marks = new BlockMarks(0);
  for (const index of [0, 1, 5000, 20_000]) marks.set(index, 'durable');
  assert.equal(marks.blockCount, 20_001);
  assert.deepEqual([countOf(marks, 'durable'), countOf(marks, 'absent')], [4, 19_997]);
  assert.equal(kindOf(marks.codesOf(2)[5000 - 2 * marks.chunkBlocks] ?? 0), 'durable');
});
