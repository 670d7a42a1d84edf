import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { RangeLocks } from '../../../receiver/durability/range-locks.ts';

interface Asked {
  readonly first: number;
  readonly count: number;
  lock: Disposable | undefined;
}

function ask(locks: RangeLocks, first: number, count: number): Asked {
  const asked: Asked = { first, count, lock: undefined };
  void locks.lock(first, count).then((lock) => (asked.lock = lock));
  return asked;
}

function overlap(a: Asked, b: Asked): boolean {
  const blocks = new Set(Array.from({ length: a.count }, (_, at) => a.first + at));
  return Array.from({ length: b.count }, (_, at) => b.first + at).some((index) => blocks.has(index));
}

/** Which of them hold their lock now. */
async function held(all: readonly Asked[]): Promise<boolean[]> {
  await turn();
  return all.map(({ lock }) => lock !== undefined);
}

test('ranges that only touch are locked at the same time, those that share one block are not', async () => {
  const locks = new RangeLocks();
  const all = [ask(locks, 10, 5), ask(locks, 15, 5), ask(locks, 5, 5), ask(locks, 14, 1), ask(locks, 9, 2)];
  assert.deepEqual(await held(all), [true, true, true, false, false]);
  all[0]?.lock?.[Symbol.dispose]();
  assert.deepEqual(await held(all), [true, true, true, true, false], 'the last still waits for block 9');
  all[2]?.lock?.[Symbol.dispose]();
  assert.deepEqual(await held(all), [true, true, true, true, true]);
});

test('the same block is locked in the order of asking', async () => {
  const locks = new RangeLocks();
  const all = [0, 1, 2, 3].map(() => ask(locks, 2 ** 32 - 1, 1));
  for (const at of [0, 1, 2, 3]) {
    assert.deepEqual(
      await held(all),
      all.map((_, other) => other <= at),
    );
    all[at]?.lock?.[Symbol.dispose]();
  }
});

test('who wants much is not overtaken for ever by those who want little', async () => {
  const locks = new RangeLocks();
  const small = ask(locks, 3, 1);
  const large = ask(locks, 0, 10);
  const later = ask(locks, 7, 1);
  const apart = ask(locks, 10, 1);
  const all = [small, large, later, apart];
  assert.deepEqual(
    await held(all),
    [true, false, false, true],
    'block 7 is free, but it was asked for before',
  );
  small.lock?.[Symbol.dispose]();
  assert.deepEqual(await held(all), [true, true, false, true]);
  large.lock?.[Symbol.dispose]();
  assert.deepEqual(await held(all), [true, true, true, true]);
});

test('a lock is given back when the work under it fails', async () => {
  const locks = new RangeLocks();
  const work = async (): Promise<void> => {
    using _lock = await locks.lock(0, 1);
    throw new Error('failed');
  };
  await assert.rejects(work());
  assert.deepEqual(await held([ask(locks, 0, 1)]), [true]);
});

test('a lock that is given back twice takes nothing from the next one', async () => {
  const locks = new RangeLocks();
  const first = await locks.lock(0, 1);
  first[Symbol.dispose]();
  const second = ask(locks, 0, 1);
  await turn();
  first[Symbol.dispose]();
  assert.deepEqual(await held([second, ask(locks, 0, 1)]), [true, false]);
});

const steps = fc.array(
  fc.oneof(fc.record({ first: fc.nat(9), count: fc.integer({ min: 1, max: 4 }) }), fc.nat(9)),
  { maxLength: 40 },
);

test('whatever is locked: no overlap is ever held, order is kept, nothing is left behind', async () => {
  const property = fc.asyncProperty(steps, async (all) => {
    const locks = new RangeLocks();
    const holding: Asked[] = [];
    let waiting: Asked[] = [];
    /** The model: whoever overlaps nobody before him in line, holding or waiting, holds. */
    const grant = (): void => {
      const before = [...holding];
      for (const asked of waiting) {
        if (!before.some((other) => overlap(other, asked))) holding.push(asked);
        before.push(asked);
      }
      waiting = waiting.filter((asked) => !holding.includes(asked));
    };
    const check = async (): Promise<void> => {
      grant();
      await turn();
      assert(holding.every(({ lock }) => lock !== undefined));
      assert(waiting.every(({ lock }) => lock === undefined));
      for (const [at, one] of holding.entries()) {
        assert(!holding.slice(at + 1).some((other) => overlap(one, other)));
      }
    };
    const release = (at: number): void => {
      const [asked] = holding.splice(at, 1);
      asked?.lock?.[Symbol.dispose]();
    };
    for (const step of all) {
      if (typeof step === 'number') release(step);
      else waiting.push(ask(locks, step.first, step.count));
      await check();
    }
    while (holding.length > 0) {
      release(holding.length - 1);
      await check();
    }
    assert.deepEqual(waiting, [], 'everybody had a turn');
    assert.deepEqual(await held([ask(locks, 0, 100)]), [true], 'nothing is held any more');
  });
  await fc.assert(property, { numRuns: 60 });
});
