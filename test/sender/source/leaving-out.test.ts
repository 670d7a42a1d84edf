import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { joinAreas, type Area } from '../../../common/areas.ts';
import { SlabPool } from '../../../common/io/buffers.ts';
import { DiskSource } from '../../../sender/source/disk-source.ts';
import { leavingOut } from '../../../sender/source/leaving-out.ts';
import { tempDir } from '../../support/temp-dir.ts';

const PAGE = 4096;
const BLOCK = 4 * PAGE;
const PAGES = 64;
/** With an end that is no whole page. */
const SIZE = PAGES * PAGE - 100;

test('what is left out reads as zeros, the rest as it is, in every block and in runs of zeros', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk');
  // Pages of zeros, too, so that runs of zeros go on past what is left out.
  const bytes = Buffer.alloc(SIZE, 7).fill(0, 20 * PAGE, 44 * PAGE);
  await writeFile(path, bytes);
  await using disk = await DiskSource.open(path);
  const slabs = new SlabPool({ slabSizeBytes: BLOCK, slabCount: 1 });
  using slab = await slabs.take();
  const pages = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES });
  await fc.assert(
    fc.asyncProperty(pages, async (chosen) => {
      const leftOut = joinAreas(
        chosen.map((page): Area => [page * PAGE, Math.min(PAGE, SIZE - page * PAGE)]),
      );
      const expected = Buffer.from(bytes);
      for (const [offset, length] of leftOut) expected.fill(0, offset, offset + length);
      const source = leavingOut(disk, leftOut);
      assert.deepEqual([source.leftOut, source.sizeBytes], [leftOut, SIZE]);
      for (let offset = 0; offset < SIZE; offset += BLOCK) {
        const into = slab.bytes.subarray(0, Math.min(BLOCK, SIZE - offset)).fill(1);
        assert.deepEqual(await source.read(into, offset), []);
        assert(into.equals(expected.subarray(offset, offset + into.length)), `at ${offset}`);
      }
      const whole = Math.floor(SIZE / BLOCK);
      const zeros = (await source.countZeros?.(0, BLOCK, whole)) ?? 0;
      assert(
        expected.subarray(0, zeros * BLOCK).every((byte) => byte === 0),
        `${zeros} blocks`,
      );
    }),
    { numRuns: 30 },
  );
});

test('a mapfile neither lists as read what was left out, nor spares its block', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk');
  await writeFile(path, Buffer.alloc(4 * BLOCK, 7));
  await using disk = await DiskSource.open(path);
  disk.map.load([
    { offset: 0, length: 2 * BLOCK, status: '+' },
    { offset: 2 * BLOCK, length: 2 * BLOCK, status: '?' },
  ]);
  leavingOut(disk, [
    [BLOCK, PAGE],
    [3 * BLOCK, PAGE],
  ]);
  assert.deepEqual([disk.map.isRead(0, BLOCK), disk.map.isRead(BLOCK, BLOCK)], [true, false]);
  disk.map.noteDurable(2 * BLOCK, 2 * BLOCK);
  assert.deepEqual(disk.map.areas(), [
    { offset: 0, length: 3 * BLOCK, status: '+' },
    { offset: 3 * BLOCK, length: PAGE, status: '?' },
    { offset: 3 * BLOCK + PAGE, length: BLOCK - PAGE, status: '+' },
  ]);
});
