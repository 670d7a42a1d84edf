import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SLAB_ALIGNMENT_BYTES, SlabArena, SlabPool, type Slab } from '../../../common/io/buffers.ts';
import { TransferError } from '../../../common/errors.ts';

/** What has become of a `take`. */
interface Asked {
  slab: Slab | undefined;
  error: unknown;
}

function ask(pool: SlabPool, signal?: AbortSignal): Asked {
  const asked: Asked = { slab: undefined, error: undefined };
  pool.take(signal).then(
    (slab) => (asked.slab = slab),
    (error: unknown) => (asked.error = error),
  );
  return asked;
}

test('slabs are page-aligned, at least of the requested size, and do not overlap', async () => {
  for (const [slabSizeBytes, rounded] of [
    [1, 4096],
    [4095, 4096],
    [4096, 4096],
    [4097, 8192],
    [65_536 + 1024, 69_632],
  ] as const) {
    const pool = new SlabPool({ slabSizeBytes, slabCount: 5 });
    assert.equal(pool.slabSizeBytes, rounded);
    const slabs = await Promise.all([1, 2, 3, 4, 5].map(async () => await pool.take()));
    for (const [at, { bytes }] of slabs.entries()) {
      assert.equal(bytes.byteOffset % SLAB_ALIGNMENT_BYTES, 0);
      assert.equal(bytes.length, rounded);
      bytes.fill(at + 1);
    }
    for (const [at, { bytes }] of slabs.entries()) assert(bytes.every((byte) => byte === at + 1));
  }
});

test('a pool of more than 4 GiB is possible: untouched slabs take no memory', async () => {
  const size = 512 * 1024 * 1024;
  const pool = new SlabPool({ slabSizeBytes: size, slabCount: 17 });
  const slabs = await Promise.all(Array.from({ length: 17 }, async () => await pool.take()));
  assert.equal(pool.freeCount, 0);
  for (const [at, { bytes }] of slabs.entries()) {
    assert.equal(bytes.byteOffset % SLAB_ALIGNMENT_BYTES, 0);
    bytes[0] = at;
    bytes[size - 1] = at;
  }
  for (const [at, { bytes }] of slabs.entries()) assert.deepEqual([bytes[0], bytes[size - 1]], [at, at]);
});

test('no more slabs are lent than there are; a waiter gets the slab that is returned', async () => {
  const pool = new SlabPool({ slabSizeBytes: 4096, slabCount: 2 });
  const [first, second] = [await pool.take(), await pool.take()];
  const third = ask(pool);
  await turn();
  assert.deepEqual([pool.freeCount, third.slab], [0, undefined]);
  second[Symbol.dispose]();
  await turn();
  assert.equal(third.slab?.bytes, second.bytes);
  assert.equal(pool.freeCount, 0);
  first[Symbol.dispose]();
  third.slab?.[Symbol.dispose]();
  assert.equal(pool.freeCount, 2);
});

test('a slab that is disposed twice is returned once', async () => {
  const pool = new SlabPool({ slabSizeBytes: 4096, slabCount: 1 });
  const first = await pool.take();
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(pool.freeCount, 1);
  const second = await pool.take();
  const waiting = ask(pool);
  first[Symbol.dispose]();
  await turn();
  assert.equal(waiting.slab, undefined, 'the slab has another owner now');
  second[Symbol.dispose]();
  await turn();
  assert.notEqual(waiting.slab, undefined);
});

test('a slab is returned at the end of its scope, even after an exception', async () => {
  const pool = new SlabPool({ slabSizeBytes: 4096, slabCount: 1 });
  const use = async (): Promise<void> => {
    using _slab = await pool.take();
    assert.equal(pool.freeCount, 0);
    throw new TransferError('source-read', 'cannot read');
  };
  await assert.rejects(use(), { code: 'source-read' });
  assert.equal(pool.freeCount, 1);
});

test('an aborted waiter leaves the line, and no other is woken', async () => {
  const pool = new SlabPool({ slabSizeBytes: 4096, slabCount: 1 });
  const held = await pool.take();
  const controllers = [new AbortController(), new AbortController(), new AbortController()];
  const asked = controllers.map(({ signal }) => ask(pool, signal));
  const reason = new TransferError('interrupted', 'the reason');
  controllers[1]?.abort(reason);
  await turn();
  assert.equal(asked[1]?.error, reason);
  assert.deepEqual([asked[0]?.slab, asked[2]?.slab, pool.freeCount], [undefined, undefined, 0]);
  held[Symbol.dispose]();
  await turn();
  assert.notEqual(asked[0]?.slab, undefined);
  const listeners = controllers.map(({ signal }) => getEventListeners(signal, 'abort').length);
  assert.deepEqual(listeners, [0, 0, 1], 'only waiters listen: a signal lives as long as the process');
  controllers[0]?.abort(reason);
  assert.equal(asked[0]?.error, undefined, 'too late: it has been lent');
  asked[0]?.slab?.[Symbol.dispose]();
  await turn();
  assert.notEqual(asked[2]?.slab, undefined);
  assert.equal(pool.freeCount, 0);
});

test('an aborted signal takes nothing; a reason that is not an error becomes one', async () => {
  const pool = new SlabPool({ slabSizeBytes: 4096, slabCount: 1 });
  await assert.rejects(pool.take(AbortSignal.abort(new Error('before'))), { message: 'before' });
  assert.equal(pool.freeCount, 1);
  const held = await pool.take();
  const controller = new AbortController();
  const waiting = ask(pool, controller.signal);
  controller.abort('a text');
  await turn();
  assert(waiting.error instanceof TransferError);
  assert.equal(waiting.error.code, 'interrupted');
  held[Symbol.dispose]();
  assert.equal(pool.freeCount, 1);
});

test('a pool without slabs is a bug', () => {
  for (const [slabSizeBytes, slabCount] of [
    [4096, 0],
    [0, 1],
    [4096, NaN],
  ] as const) {
    assert.throws(() => new SlabPool({ slabSizeBytes, slabCount }), { name: 'AssertionError' });
  }
});

type Step = 'take' | { readonly release: number } | { readonly abort: number };
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.constant<Step>('take') },
    { weight: 3, arbitrary: fc.record({ release: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ abort: fc.nat(9) }) },
  ),
  { maxLength: 40 },
);

test('for any sequence of calls: in order, within the bound, and nothing is lost', async () => {
  const property = fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, async (slabCount, all) => {
    const pool = new SlabPool({ slabSizeBytes: 4096, slabCount });
    const lent: Asked[] = [];
    let line: { asked: Asked; controller: AbortController }[] = [];
    for (const step of all) {
      if (step === 'take') {
        const controller = new AbortController();
        line.push({ asked: ask(pool, controller.signal), controller });
      } else if ('release' in step) {
        lent.splice(step.release, 1)[0]?.slab?.[Symbol.dispose]();
      } else if (line[step.abort] !== undefined) {
        line.splice(step.abort, 1)[0]?.controller.abort();
      }
      // The model: the first in line get what is free.
      while (lent.length < slabCount && line[0] !== undefined) {
        lent.push(line[0].asked);
        line = line.slice(1);
      }
      await turn();
      assert(lent.every(({ slab }) => slab !== undefined));
      assert(line.every(({ asked }) => asked.slab === undefined));
      assert.equal(new Set(lent.map(({ slab }) => slab?.bytes)).size, lent.length, 'no slab has two owners');
      assert.equal(pool.freeCount, slabCount - lent.length);
    }
  });
  await fc.assert(property, { numRuns: 60 });
});

const [SMALL, LARGE] = [4096, 5 * 4096];

test('pools over one arena share its memory: what one of them has, the other waits for', async () => {
  const arena = new SlabArena(2 * LARGE);
  const [small, large] = [SMALL, LARGE].map(
    (slabSizeBytes) => new SlabPool({ slabSizeBytes, slabCount: (2 * LARGE) / slabSizeBytes, arena }),
  );
  assert(small !== undefined && large !== undefined);
  const held = await Promise.all(Array.from({ length: 6 }, async () => await small.take()));
  const waiting = [ask(large), ask(small)];
  await turn();
  assert.deepEqual(
    waiting.map(({ slab }) => slab),
    [undefined, undefined],
    'the small one waits behind the large one, which would never have its turn otherwise',
  );
  // Four free pages at the end, and one that is returned beside them.
  held[5]?.[Symbol.dispose]();
  await turn();
  assert.deepEqual(
    waiting.map(({ slab }) => slab?.bytes.length),
    [LARGE, undefined],
  );
  held[2]?.[Symbol.dispose]();
  await turn();
  assert.equal(waiting[1]?.slab?.bytes.byteOffset, held[2]?.bytes.byteOffset);
});

test('a waiter of an arena that gives up leaves the line, and its place in the pool', async () => {
  const arena = new SlabArena(LARGE);
  const one = new SlabPool({ slabSizeBytes: LARGE, slabCount: 1, arena });
  const other = new SlabPool({ slabSizeBytes: LARGE, slabCount: 1, arena });
  using held = await one.take();
  const controller = new AbortController();
  const waiting = [ask(other, controller.signal), ask(other)];
  await turn();
  controller.abort(new TransferError('interrupted', 'the reason'));
  await turn();
  assert.match(String(waiting[0]?.error), /the reason/);
  held[Symbol.dispose]();
  await turn();
  assert.notEqual(waiting[1]?.slab, undefined);
});

test('whatever is lent and returned: no byte has two owners, and all of the memory comes back', async () => {
  const sizes = [1, 2, 3, 5];
  const choices = fc.array(
    fc.oneof(
      fc.nat(3),
      fc.nat(30).map((at) => -1 - at),
    ),
    { maxLength: 60 },
  );
  await fc.assert(
    fc.asyncProperty(choices, async (all) => {
      const arena = new SlabArena(16 * 4096);
      const pools = sizes.map(
        (pages) => new SlabPool({ slabSizeBytes: pages * 4096, slabCount: Math.floor(16 / pages), arena }),
      );
      const lent: Slab[] = [];
      const asked: Asked[] = [];
      for (const choice of all) {
        const pool = pools[choice];
        if (pool !== undefined) asked.push(ask(pool));
        else lent.splice(-1 - choice, 1)[0]?.[Symbol.dispose]();
        await turn();
        for (const one of asked.splice(0)) {
          if (one.slab === undefined) asked.push(one);
          else lent.push(one.slab);
        }
        const ranges = lent.map(({ bytes }) => [bytes.byteOffset, bytes.byteOffset + bytes.length] as const);
        for (const [at, [from, end]] of ranges.entries()) {
          assert(from % SLAB_ALIGNMENT_BYTES === 0 && end <= 16 * 4096);
          assert(ranges.every(([start, stop], other) => at === other || stop <= from || start >= end));
        }
      }
      while (asked.length > 0 || lent.length > 0) {
        for (const slab of lent.splice(0)) slab[Symbol.dispose]();
        await turn();
        for (const one of asked.splice(0)) {
          if (one.slab === undefined) asked.push(one);
          else lent.push(one.slab);
        }
      }
      const whole = await new SlabPool({ slabSizeBytes: 16 * 4096, slabCount: 1, arena }).take();
      assert.equal(whole.bytes.length, 16 * 4096);
    }),
    { numRuns: 60 },
  );
});

test('an arena of more than a gigabyte has several memories', async () => {
  const size = 512 * 1024 * 1024;
  const pool = new SlabPool({ slabSizeBytes: size, slabCount: 3, arena: new SlabArena(3 * size) });
  const slabs = await Promise.all([1, 2, 3].map(async () => await pool.take()));
  for (const [at, { bytes }] of slabs.entries()) bytes[0] = bytes[size - 1] = at;
  for (const [at, { bytes }] of slabs.entries()) assert.deepEqual([bytes[0], bytes[size - 1]], [at, at]);
});
