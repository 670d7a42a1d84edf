import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { sideBySide } from '../../../receiver/store/side-by-side.ts';

test('so many at once, and each item once', async () => {
  let [running, most] = [0, 0];
  const done: number[] = [];
  await sideBySide(3, Array.from({ length: 20 }, (_, at) => at).values(), async (item) => {
    most = Math.max(most, ++running);
    await turn();
    running--;
    done.push(item);
  });
  assert.deepEqual([most, done.toSorted((a, b) => a - b)], [3, Array.from({ length: 20 }, (_, at) => at)]);
});

test('the first failure ends it, when what has begun has ended', async () => {
  let [begun, ended] = [0, 0];
  const work = sideBySide(
    3,
    Array.from({ length: 20 }, (_, at) => at),
    async (item) => {
      begun++;
      await turn();
      ended++;
      if (item === 1) throw new Error('the second');
    },
  );
  await assert.rejects(work, /the second/);
  assert.equal(ended, begun);
  assert(begun < 10);
});
