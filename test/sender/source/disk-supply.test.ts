import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestNow } from '../../../common/digest/digest.ts';
import { WorkQueue } from '../../../sender/source/disk-supply.ts';

test('blocks come in the order of the disk, each once, then nothing', () => {
  const queue = new WorkQueue(3);
  assert.equal(queue.isEmpty, false);
  for (const index of [0, 1, 2]) {
    assert.deepEqual(queue.take(), { index, digest: undefined, isFirst: true });
  }
  assert.equal(queue.isEmpty, true);
  assert.equal(queue.take(), undefined);
  assert.equal(queue.take(), undefined);
});

test('an empty disk has no blocks', () => {
  const queue = new WorkQueue(0);
  assert.equal(queue.isEmpty, true);
  assert.equal(queue.take(), undefined);
});

test('blocks that are put back come before new ones, in order, with their digests', () => {
  const queue = new WorkQueue(4);
  queue.take();
  queue.take();
  const digest = digestNow(Buffer.from('one'));
  queue.putBack(1, digest);
  queue.putBack(0, undefined);
  assert.deepEqual(queue.take(), { index: 1, digest, isFirst: false });
  assert.deepEqual(queue.take(), { index: 0, digest: undefined, isFirst: false });
  assert.deepEqual(queue.take(), { index: 2, digest: undefined, isFirst: true });
});

test('an empty queue has work again when something is put back', () => {
  const queue = new WorkQueue(1);
  queue.take();
  queue.putBack(0, undefined);
  assert.equal(queue.isEmpty, false);
  assert.equal(queue.take()?.index, 0);
  assert.equal(queue.isEmpty, true);
});

test('a queue of 2^32 blocks is as quick as one of three', () => {
  const queue = new WorkQueue(2 ** 32);
  assert.equal(queue.take()?.index, 0);
  assert.equal(queue.take()?.index, 1);
  assert.equal(queue.isEmpty, false);
});

test('every block is read for the first time exactly once, whatever is put back', () => {
  fc.assert(
    fc.property(fc.nat(20), fc.array(fc.nat(3), { maxLength: 30 }), (blockCount, failures) => {
      const queue = new WorkQueue(blockCount);
      const first: number[] = [];
      const done = new Set<number>();
      let at = 0;
      for (let item = queue.take(); item !== undefined; item = queue.take()) {
        if (item.isFirst) first.push(item.index);
        if ((failures[at++] ?? 1) === 0) queue.putBack(item.index, undefined);
        else done.add(item.index);
      }
      const all = Array.from({ length: blockCount }, (_, index) => index);
      assert.deepEqual(first, all);
      assert.deepEqual(
        [...done].sort((a, b) => a - b),
        all,
      );
    }),
  );
});
