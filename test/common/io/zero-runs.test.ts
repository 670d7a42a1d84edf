import assert from 'node:assert/strict';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ZeroRuns } from '../../../common/io/zero-runs.ts';
import { eventually } from '../../support/eventually.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const BLOCK_BYTES = MIB;
/** It takes seconds to read. */
const HUGE_BLOCKS = 1024 * 1024;

interface Zeros extends AsyncDisposable {
  readonly runs: ZeroRuns;
  readonly handle: FileHandle;
}

/** A file that is one hole, and the reader of it; without O_DIRECT, which not every folder has. */
async function zerosOf(blockCount: number): Promise<Zeros> {
  await using stack = new AsyncDisposableStack();
  const path = join(stack.use(await tempDir()).path, 'disk.img');
  const handle = stack.use(await open(path, 'w+'));
  await handle.truncate(blockCount * BLOCK_BYTES);
  const read = stack.use(await open(path));
  const runs = stack.use(new ZeroRuns(read));
  const owned = stack.move();
  return { runs, handle, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

/** Again if this machine was busy, until a run was not cut short by time. */
async function countAll(runs: ZeroRuns, expected: number, [first, count]: [number, number]): Promise<void> {
  await eventually(
    `${expected} of ${count} from ${first}`,
    async () => (await runs.count(first * BLOCK_BYTES, BLOCK_BYTES, count)) === expected,
  );
}

test('holes and written zeros are counted', async () => {
  await using disk = await zerosOf(8);
  await countAll(disk.runs, 8, [0, 8]);
  await disk.handle.write(Buffer.alloc(3 * MIB), 0, 3 * MIB, MIB);
  await countAll(disk.runs, 7, [1, 7]);
});

test('one bit anywhere ends the run before its block', async () => {
  await using disk = await zerosOf(4);
  for (const within of [0, 1, 4095, 4096, MIB / 2 - 1, MIB / 2, MIB / 2 + 1, MIB - 1]) {
    for (const block of [0, 2, 3]) {
      const at = block * BLOCK_BYTES + within;
      await disk.handle.write(Buffer.of(block + 1), 0, 1, at);
      const most = await disk.runs.count(0, BLOCK_BYTES, 4);
      assert(most <= block, `${most} blocks of zeros before ${at}`);
      await countAll(disk.runs, block, [0, 4]);
      await disk.handle.write(Buffer.of(0), 0, 1, at);
    }
  }
  await countAll(disk.runs, 4, [0, 4]);
});

test('bytes that all equal each other are not zeros', async () => {
  await using disk = await zerosOf(2);
  await disk.handle.write(Buffer.alloc(MIB, 7), 0, MIB, MIB);
  await countAll(disk.runs, 1, [0, 2]);
});

test('the end of the disk ends the run', async () => {
  await using disk = await zerosOf(4);
  await countAll(disk.runs, 2, [2, 4]);
  assert.equal(await disk.runs.count(4 * BLOCK_BYTES, BLOCK_BYTES, 1), 0);
});

test('what cannot be read is not counted', async () => {
  await using disk = await zerosOf(1);
  await using folder = await tempDir();
  await using handle = await open(folder.path);
  await using runs = new ZeroRuns(handle);
  assert.equal(await runs.count(0, BLOCK_BYTES, 1), 0);
  await countAll(disk.runs, 1, [0, 1]);
});

test('after an error nothing is read any more', async () => {
  await using disk = await zerosOf(1);
  await countAll(disk.runs, 1, [0, 1]);
  // No read can have this place.
  assert.equal(await disk.runs.count(2 ** 60, BLOCK_BYTES, 1), 0);
  for (let call = 0; call < 20; call++) assert.equal(await disk.runs.count(0, BLOCK_BYTES, 1), 0);
});

test('runs that are asked for at once each get their own answer', async () => {
  await using disk = await zerosOf(4);
  await disk.handle.write(Buffer.of(1), 0, 1, 3 * BLOCK_BYTES);
  await eventually('no run was cut short', async () => {
    const counts = [0, 1, 2, 3].map((first) => disk.runs.count(first * BLOCK_BYTES, BLOCK_BYTES, 4 - first));
    return (await Promise.all(counts)).join(' ') === '3 2 1 0';
  });
});

test('a run that takes too long ends, and the next calls read nothing', async () => {
  await using disk = await zerosOf(HUGE_BLOCKS);
  const counted = await disk.runs.count(0, BLOCK_BYTES, HUGE_BLOCKS);
  assert(counted < HUGE_BLOCKS, `${counted}`);
  for (let call = 0; call < 8; call++) assert.equal(await disk.runs.count(0, BLOCK_BYTES, 1), 0);
  await countAll(disk.runs, 1, [0, 1]);
});

test('a run that is read when it is disposed ends, and nothing is read after it', async () => {
  await using disk = await zerosOf(HUGE_BLOCKS);
  const counting = disk.runs.count(0, BLOCK_BYTES, HUGE_BLOCKS);
  await disk.runs[Symbol.asyncDispose]();
  assert((await counting) < HUGE_BLOCKS);
  assert.equal(await disk.runs.count(0, BLOCK_BYTES, 1), 0);
});
