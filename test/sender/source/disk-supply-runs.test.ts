/** Runs of zeros: every block comes once, whatever a run finds and however long it takes. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SHA256, digestNow } from '../../../common/digest/digest.ts';
import { SlabPool } from '../../../common/io/buffers.ts';
import { blockCountOf, type Geometry } from '../../../common/geometry.ts';
import { DiskSource } from '../../../sender/source/disk-source.ts';
import { DiskSupply, WorkQueue } from '../../../sender/source/disk-supply.ts';
import { BlockReader } from '../../../sender/source/read-block.ts';
import type { Source } from '../../../sender/source/source.ts';
import { eventually } from '../../support/eventually.ts';
import { bounded } from '../../support/processes.ts';
import { tempDir } from '../../support/temp-dir.ts';

const BLOCK_BYTES = 64 * 1024;
const LANES = 3;
/** More than a run takes. */
const HANGING_BLOCKS = 1500;
const never = new AbortController().signal;

function supplyOf(source: Source): DiskSupply {
  const geometry: Geometry = { sizeBytes: source.sizeBytes, blockSizeBytes: BLOCK_BYTES };
  return new DiskSupply({
    reader: new BlockReader(source, geometry, SHA256),
    slabs: new SlabPool({ slabSizeBytes: BLOCK_BYTES, slabCount: LANES }),
    blockCount: blockCountOf(geometry),
    blockSizeBytes: BLOCK_BYTES,
  });
}

/** Takes blocks until there are none. @param got their digests. */
async function lane(supply: DiskSupply, got: Map<number, string>, signal = never): Promise<void> {
  const options = {
    signal,
    flush: async () => await Promise.resolve(),
    readBefore: async () => await Promise.resolve(undefined),
  };
  while (!supply.isEmpty) {
    using supplied = await supply.next(options);
    if (supplied === undefined) continue;
    assert('block' in supplied && supplied.isFirst);
    const { index, digest } = supplied.block;
    assert(!got.has(index), `block ${index} came twice`);
    got.set(index, digest.toString('hex'));
  }
}

async function lanes(supply: DiskSupply, got: Map<number, string>): Promise<void> {
  await bounded('all blocks', Promise.all(Array.from({ length: LANES }, () => lane(supply, got))));
}

/** Zeros in memory, whose runs end when they are told to. */
class HangingSource implements Source {
  readonly canReread = true;
  readonly description = { description: 'zeros', path: '/zeros', model: null, serial: null };
  readonly sizeBytes = HANGING_BLOCKS * BLOCK_BYTES;
  readonly run = Promise.withResolvers<number>();
  asked: [number, number] | undefined;

  async read(into: Buffer): Promise<readonly []> {
    into.fill(0);
    return await Promise.resolve([]);
  }

  async countZeros(offset: number, blockBytes: number, count: number): Promise<number> {
    if (this.asked !== undefined) return 0;
    this.asked = [offset / blockBytes, count];
    return await this.run.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

test('a disk with data in places is read exactly, in runs and block by block', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  const count = 5000;
  // The first and the last byte of a block, neighbors, and a last block that is short.
  const places = [0, 1, 700, 701, 1400 + (BLOCK_BYTES - 1) / BLOCK_BYTES, 3000.5, count - 2];
  {
    await using handle = await open(path, 'w');
    await handle.truncate((count - 1) * BLOCK_BYTES + 1000);
    for (const place of places) await handle.write(Buffer.of(7), 0, 1, place * BLOCK_BYTES);
    await handle.sync();
  }
  await using source = await DiskSource.open(path);
  let inRuns = 0;
  const countZeros = source.countZeros.bind(source);
  source.countZeros = async (...range) => {
    const zeros = await countZeros(...range);
    inRuns += zeros;
    return zeros;
  };
  const got = new Map<number, string>();
  await lanes(supplyOf(source), got);
  const expected = (index: number): string => {
    const bytes = Buffer.alloc(index === count - 1 ? 1000 : BLOCK_BYTES);
    for (const place of places) {
      if (Math.floor(place) === index) bytes[(place - index) * BLOCK_BYTES] = 7;
    }
    return digestNow(bytes).toString('hex');
  };
  assert.equal(got.size, count);
  const zero = expected(2);
  for (const [index, digest] of got) {
    const isData = index === count - 1 || places.some((place) => Math.floor(place) === index);
    assert.equal(digest, isData ? expected(index) : zero, `block ${index}`);
  }
  assert(inRuns > 0);
});

test('a run that hangs keeps only its own blocks from the lanes', async () => {
  await using source = new HangingSource();
  const supply = supplyOf(source);
  const got = new Map<number, string>();
  const all = lanes(supply, got);
  await eventually('a run has begun', () => source.asked !== undefined);
  const [first, count] = source.asked ?? [0, 0];
  assert(count > 0 && first + count < HANGING_BLOCKS);
  await eventually('the other blocks have come', () => got.size === HANGING_BLOCKS - count);
  assert.equal(got.has(first), false);
  assert.equal(supply.isEmpty, false);
  source.run.resolve(count - 1);
  await all;
  assert.equal(got.size, HANGING_BLOCKS);
});

test('lanes that wait for a run that hangs can be interrupted', async () => {
  await using source = new HangingSource();
  const interruption = new AbortController();
  const running = lane(supplyOf(source), new Map(), interruption.signal);
  await eventually('a run has begun', () => source.asked !== undefined);
  interruption.abort(new Error('interrupted'));
  await bounded('the lane to end', assert.rejects(running, /^Error: interrupted$/));
  source.run.resolve(0);
});

test('every block is handed out once, whatever runs are taken and however they end', () => {
  const step = fc.record({ isRun: fc.boolean(), count: fc.integer({ min: 1, max: 8 }), zeros: fc.nat(8) });
  fc.assert(
    fc.property(fc.nat(40), fc.array(step, { maxLength: 30 }), (blockCount, steps) => {
      const queue = new WorkQueue(blockCount);
      const got: number[] = [];
      const zeros: number[] = [];
      const expectedZeros: number[] = [];
      const take = (): void => {
        const item = queue.take();
        if (item === undefined) return;
        got.push(item.index);
        if (item.isZero === true) zeros.push(item.index);
      };
      for (const { isRun, ...found } of steps) {
        const run = isRun ? queue.takeRun(found.count) : undefined;
        if (run === undefined) take();
        else {
          // What others take meanwhile.
          take();
          const count = Math.min(found.zeros, run.count);
          expectedZeros.push(...Array.from({ length: count }, (_, at) => run.first + at));
          queue.giveBack(run, count);
          assert.equal(queue.isEmpty, false);
        }
      }
      while (!queue.isEmpty) take();
      assert.deepEqual(
        got.toSorted((a, b) => a - b),
        Array.from({ length: blockCount }, (_, index) => index),
      );
      assert.deepEqual(zeros, expectedZeros);
    }),
  );
});

test('a run never touches what a mapfile lists', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  {
    await using handle = await open(path, 'w');
    await handle.truncate(16 * BLOCK_BYTES);
  }
  await using source = await DiskSource.open(path);
  const count = async (first: number, blocks: number): Promise<number> =>
    await source.countZeros(first * BLOCK_BYTES, BLOCK_BYTES, blocks);
  await eventually('all of it can be read in a run', async () => (await count(0, 16)) === 16);
  source.map.load([
    { offset: 0, length: 4 * BLOCK_BYTES, status: '?' },
    { offset: 4 * BLOCK_BYTES, length: 4 * BLOCK_BYTES, status: '-' },
    { offset: 8 * BLOCK_BYTES, length: 4 * BLOCK_BYTES, status: '+' },
    { offset: 12 * BLOCK_BYTES, length: 4 * BLOCK_BYTES, status: '?' },
  ]);
  for (const [first, blocks] of [
    [0, 16],
    [3, 2],
    [4, 1],
    [8, 1],
    [11, 2],
  ] as const) {
    assert.equal(await count(first, blocks), 0, `${first} ${blocks}`);
  }
  await eventually('the rest can be read in a run', async () => (await count(12, 4)) === 4);
});
