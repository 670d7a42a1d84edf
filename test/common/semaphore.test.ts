import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Semaphore } from '../../common/semaphore.ts';

/** What has become of a `take`. */
interface Asked {
  permit: Disposable | undefined;
  error: unknown;
}

function ask(semaphore: Semaphore, signal?: AbortSignal): Asked {
  const asked: Asked = { permit: undefined, error: undefined };
  semaphore.take(signal).then(
    (permit) => (asked.permit = permit),
    (error: unknown) => (asked.error = error),
  );
  return asked;
}

test('a raised limit admits waiters in order; a lowered one takes nothing away', async () => {
  const semaphore = new Semaphore(1);
  const asked = [1, 2, 3, 4].map(() => ask(semaphore));
  await turn();
  const held = (): boolean[] => asked.map(({ permit }) => permit !== undefined);
  assert.deepEqual(held(), [true, false, false, false]);
  semaphore.limit = 3;
  await turn();
  assert.deepEqual(held(), [true, true, true, false]);
  semaphore.limit = 1;
  asked[0]?.permit?.[Symbol.dispose]();
  await turn();
  assert.deepEqual([semaphore.takenCount, semaphore.waitingCount], [2, 1]);
  asked[1]?.permit?.[Symbol.dispose]();
  asked[2]?.permit?.[Symbol.dispose]();
  await turn();
  assert.deepEqual([semaphore.takenCount, semaphore.waitingCount], [1, 0]);
});

test('a waiter that aborts in the instant of its admission passes the permit on', async () => {
  const semaphore = new Semaphore(1);
  const held = await semaphore.take();
  const controller = new AbortController();
  const [aborted, next] = [ask(semaphore, controller.signal), ask(semaphore)];
  controller.abort(new Error('the reason'));
  held[Symbol.dispose]();
  await turn();
  assert.match(String(aborted.error), /the reason/);
  assert.notEqual(next.permit, undefined);
  assert.equal(semaphore.takenCount, 1);
});

test('a permit that is disposed twice is released once', async () => {
  const semaphore = new Semaphore(2);
  const [first, second] = [await semaphore.take(), await semaphore.take()];
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(semaphore.takenCount, 1);
  second[Symbol.dispose]();
  assert.equal(semaphore.takenCount, 0);
});

type Step = 'take' | { readonly release: number } | { readonly abort: number } | { readonly limit: number };

test('for any calls: in order, at most as many as the limit admits, and nothing is lost', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant<Step>('take') },
    { weight: 3, arbitrary: fc.record({ release: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ abort: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ limit: fc.nat(5) }) },
  );
  const property = fc.asyncProperty(fc.array<Step>(step, { maxLength: 40 }), async (steps) => {
    const semaphore = new Semaphore(2);
    const held: Asked[] = [];
    let line: { asked: Asked; controller: AbortController }[] = [];
    for (const each of steps) {
      if (each === 'take') {
        const controller = new AbortController();
        line.push({ asked: ask(semaphore, controller.signal), controller });
      } else if ('release' in each) held.splice(each.release, 1)[0]?.permit?.[Symbol.dispose]();
      else if ('limit' in each) semaphore.limit = each.limit;
      else if (line[each.abort] !== undefined) line.splice(each.abort, 1)[0]?.controller.abort();
      // The model: the first in line get what is free.
      while (held.length < semaphore.limit && line[0] !== undefined) {
        held.push(line[0].asked);
        line = line.slice(1);
      }
      await turn();
      assert(held.every(({ permit }) => permit !== undefined));
      assert(line.every(({ asked }) => asked.permit === undefined));
      assert.deepEqual([semaphore.takenCount, semaphore.waitingCount], [held.length, line.length]);
    }
  });
  await fc.assert(property, { numRuns: 100 });
});
