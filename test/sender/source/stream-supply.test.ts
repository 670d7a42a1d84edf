import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SlabPool } from '../../../common/io/buffers.ts';
import { SHA256, digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import type { NextOptions, SuppliedBlock } from '../../../sender/source/block-supply.ts';
import { END_GRACE_MS, StreamSupply } from '../../../sender/source/stream-supply.ts';
import type { Stream } from '../../../sender/source/stream.ts';
import { coded } from '../../support/coded.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { prng } from '../../support/prng.ts';

const BLOCK = 65_536;
const never = new AbortController().signal;
const noFlush = async (): Promise<void> => await Promise.reject(new Error('nothing to flush'));

/** Gives these bytes, then ends. */
function streamOf(bytes: Buffer): Stream {
  let at = 0;
  return {
    canReread: false,
    description: { description: 'a pipe', path: 'standard input', model: null, serial: null },
    sizeBytes: null,
    fill: async (into) => {
      const taken = bytes.copy(into, 0, at);
      at += taken;
      return await Promise.resolve(taken);
    },
    isAtEnd: async () => await Promise.resolve(at === bytes.length),
    [Symbol.asyncDispose]: async () => await Promise.resolve(),
  };
}

function nextOptions(flush: () => Promise<void>, signal: AbortSignal): NextOptions {
  return { flush, signal, readBefore: async () => await Promise.resolve(undefined) };
}

interface Scene {
  readonly supply: StreamSupply;
  readonly clock: FakeClock;
  readonly slabs: SlabPool;
  readonly ends: number[];
  /** The next block; lets all the time pass that it takes. */
  readonly next: (flush?: () => Promise<void>) => Promise<SuppliedBlock | undefined>;
}

function scene(bytes: Buffer, options: { slabCount?: number; sizeMax?: number } = {}): Scene {
  const geometry = { sizeBytes: options.sizeMax ?? 100 * BLOCK, blockSizeBytes: BLOCK };
  const clock = new FakeClock();
  const slabs = new SlabPool({ slabSizeBytes: BLOCK, slabCount: options.slabCount ?? 8 });
  const ends: number[] = [];
  const supply = new StreamSupply({
    stream: streamOf(bytes),
    geometry,
    slabs,
    digest: SHA256,
    clock,
    onEnd: async (sizeBytes) => {
      ends.push(sizeBytes);
      geometry.sizeBytes = sizeBytes;
      return await Promise.resolve();
    },
    tooLong: () => new TransferError('target-too-small', 'it goes on'),
  });
  const next = async (flush = noFlush): Promise<SuppliedBlock | undefined> =>
    await clock.runToEnd(supply.next(nextOptions(flush, never)));
  return { supply, clock, slabs, ends, next };
}

/** Index, length, digest, whether it is zero, and whether it is new. */
function shown(supplied: SuppliedBlock | undefined): unknown[] {
  assert(supplied !== undefined);
  const { index, bytes, digest, isZero } = supplied.block;
  return [index, bytes.length, digest.toString('hex'), isZero, supplied.isFirst];
}

test('blocks come in order, all whole except the last; the end is reported before that one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 3 * BLOCK }), fc.integer(), async (length, seed) => {
      const bytes = prng(seed).bytes(length);
      const { ends, next, supply } = scene(bytes);
      let index = 0;
      for (; index * BLOCK < length; index++) {
        const piece = bytes.subarray(index * BLOCK, (index + 1) * BLOCK);
        const isTail = piece.length < BLOCK;
        assert.deepEqual(ends, []);
        assert.deepEqual(shown(await next()), [
          index,
          piece.length,
          digestNow(piece).toString('hex'),
          false,
          true,
        ]);
        assert.deepEqual(ends, isTail ? [length] : []);
      }
      assert.equal(await next(), undefined);
      assert.deepEqual([ends, supply.isEmpty], [[length], true]);
      assert.equal(await next(), undefined, 'and it stays ended');
    }),
    { numRuns: 20 },
  );
});

test('concurrent lanes get all blocks, each once, and the end is reported once', async () => {
  const bytes = prng(5).bytes(7 * BLOCK + 1);
  const { supply, clock, ends } = scene(bytes, { slabCount: 10 });
  const lanes = Array.from({ length: 10 }, async () => await supply.next(nextOptions(noFlush, never)));
  const blocks = await clock.runToEnd(Promise.all(lanes));
  assert.deepEqual(
    blocks.map((supplied) => supplied?.block.index),
    [0, 1, 2, 3, 4, 5, 6, 7, undefined, undefined],
  );
  assert.deepEqual(ends, [7 * BLOCK + 1]);
});

test('a block stays in memory until it is released, and can be supplied again unchanged', async () => {
  const bytes = prng(6).bytes(2 * BLOCK);
  const { supply, slabs, next } = scene(bytes);
  const first = await next();
  const [, , digest] = shown(first);
  first?.[Symbol.dispose]();
  await next();
  assert.equal(slabs.freeCount, 6);
  supply.putBack(0, undefined);
  const again = await next();
  assert.deepEqual(shown(again), [0, BLOCK, digest, false, false]);
  assert.deepEqual(again?.block.bytes, bytes.subarray(0, BLOCK));
  supply.release([[0, 2]]);
  assert.equal(slabs.freeCount, 8);
});

test('zeros need no memory, even when they are supplied again', async () => {
  const { supply, slabs, next } = scene(Buffer.alloc(BLOCK + 10));
  await next();
  const tail = await next();
  assert.deepEqual([tail?.block.isZero, tail?.block.bytes.length], [true, 10]);
  supply.release([[0, 2]]);
  assert.equal(slabs.freeCount, 8);
  supply.putBack(1, undefined);
  assert.equal(supply.isEmpty, false);
  const digest = digestNow(Buffer.alloc(10)).toString('hex');
  assert.deepEqual(shown(await next()), [1, 0, digest, true, false]);
});

test('when all memory is taken a flush is requested, which frees some', async () => {
  const { supply, next } = scene(prng(7).bytes(3 * BLOCK), { slabCount: 2 });
  await next();
  await next();
  let flushes = 0;
  const third = await next(async () => {
    flushes++;
    supply.release([[0, 1]]);
    return await Promise.resolve();
  });
  assert.deepEqual([third?.block.index, flushes], [2, 1]);
});

test('blocks that a flush reports lost are supplied before anything is read', async () => {
  const { supply, next } = scene(prng(8).bytes(3 * BLOCK), { slabCount: 2 });
  await next();
  await next();
  const lost = await next(async () => {
    supply.putBack(1, undefined);
    return await Promise.resolve();
  });
  assert.deepEqual([lost?.block.index, lost?.isFirst], [1, false]);
});

test('blocks held by other lanes are waited for, and then flushed', async () => {
  const { supply, clock, next } = scene(prng(9).bytes(4 * BLOCK), { slabCount: 2 });
  await next();
  await next();
  let flushes = 0;
  const flush = async (): Promise<void> => {
    // Blocks that the first flush did not cover had not been written yet.
    if (++flushes === 2) supply.release([[0, 2]]);
    return await Promise.resolve();
  };
  const third = supply.next(nextOptions(flush, never));
  await clock.advance(1000);
  assert.equal(flushes, 1);
  const fourth = supply.next(nextOptions(flush, never));
  const both = await clock.runToEnd(Promise.all([third, fourth]));
  assert.deepEqual(
    both.map((supplied) => supplied?.block.index),
    [2, 3],
  );
  assert.equal(flushes, 2);
});

test('an interruption right after the end of the pipe ends the run, not the source', async () => {
  const { supply, clock, ends } = scene(prng(10).bytes(100));
  const interruption = new AbortController();
  const tail = supply.next(nextOptions(noFlush, interruption.signal));
  await clock.advance(END_GRACE_MS - 1);
  interruption.abort(new TransferError('interrupted', 'interrupted'));
  await assert.rejects(tail, coded('interrupted'));
  assert.deepEqual(ends, []);
});

test('a pipe that continues past the maximum size is refused, even in the middle of a block', async () => {
  for (const sizeMax of [BLOCK, BLOCK + 512]) {
    const fitting = scene(prng(11).bytes(sizeMax), { sizeMax });
    await fitting.next();
    if (sizeMax > BLOCK) await fitting.next();
    assert.equal(await fitting.next(), undefined);
    assert.deepEqual(fitting.ends, [sizeMax]);
    const longer = scene(prng(11).bytes(sizeMax + 1), { sizeMax });
    await longer.next();
    await assert.rejects(longer.next(), coded('target-too-small'));
    assert.deepEqual(longer.ends, []);
  }
});

test('durable blocks that were lost cannot be sent again, and are named', () => {
  const { supply } = scene(Buffer.alloc(0));
  assert.throws(
    () =>
      supply.sendAgain([
        [3, 2],
        [9, 1],
      ]),
    coded('source-spent', {
      message: /^the receiver lost 3 blocks: 3-4, 9, and a pipe can't be read again$/,
      hint: /^run the same pipe again to resume: 3 blocks are missing$/,
    }),
  );
  assert.throws(
    () => supply.sendAgain([[3, 1]]),
    coded('source-spent', { message: /^the receiver lost block 3, and/, hint: /: 1 block is missing$/ }),
  );
});

test('bytes that changed in memory are not sent again', async () => {
  const { supply, next } = scene(prng(12).bytes(BLOCK));
  const supplied = await next();
  assert(supplied !== undefined);
  await supply.check(supplied.block);
  supplied.block.bytes[7] = (supplied.block.bytes[7] ?? 0) ^ 1;
  await assert.rejects(supply.check(supplied.block), coded('source-changed', { message: /in the memory/ }));
});
