import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  comparisonEvent,
  comparisonText,
  differenceSentences,
} from '../../../sender/display/comparison-text.ts';
import { NO_DIFFERENCES, type Comparison } from '../../../sender/transfer/comparison.ts';

const EQUAL: Comparison = {
  blocksTotal: 50,
  bytesTotal: 50 * 2 ** 22,
  blockSizeBytes: 2 ** 22,
  source: NO_DIFFERENCES,
  target: NO_DIFFERENCES,
  missing: NO_DIFFERENCES,
  isSealed: true,
  readBack: null,
  leftOut: null,
};
const THREE = {
  count: 3,
  ranges: [
    [7, 2],
    [40, 1],
  ],
} as const;

test('an equal copy is one line', () => {
  assert.equal(
    comparisonText(EQUAL, '/dev/vdd'),
    'equal    50 blocks, 200 MiB, on /dev/vdd: read back and equal\n',
  );
  assert.deepEqual(differenceSentences(EQUAL, '/dev/vdd'), []);
});

test('what is equal only in the words of an NBD server is called that', () => {
  const served = { ...EQUAL, readBack: 'nbd-server' } as const;
  const text = comparisonText(served, 'nbd://vm/');
  assert.match(text, /on nbd:\/\/vm\/: read back and equal, as its NBD server says\n/);
  assert.equal(comparisonEvent(served)['readBack'], 'nbd-server');
  assert.equal('readBack' in comparisonEvent({ ...served, target: THREE }), false);
});

test('each kind of difference is a line with its blocks', () => {
  const all = { ...EQUAL, source: THREE, target: THREE, missing: { count: 1, ranges: [[9, 1]] } as const };
  assert.equal(
    comparisonText(all, '/dev/vdd'),
    'differs  3 of 50 blocks of the source are not what was sealed: blocks 7-8, 40\n' +
      'differs  3 of 50 blocks on /dev/vdd are not what was sealed: blocks 7-8, 40\n' +
      'missing  1 of 50 blocks are not on /dev/vdd yet: block 9\n',
  );
  const open = { ...EQUAL, isSealed: false, target: THREE };
  assert.deepEqual(differenceSentences(open, '/dev/vdd'), [
    '3 of 50 blocks on /dev/vdd are not what was recorded: blocks 7-8, 40',
  ]);
});

test('a target that was not read is not called equal', () => {
  const text = comparisonText({ ...EQUAL, target: undefined }, '/dev/vdd');
  assert.equal(text, 'note     the target was not read: the receiver was started with --verify none\n');
  assert.equal(comparisonEvent({ ...EQUAL, target: undefined })['isEqual'], false);
});
