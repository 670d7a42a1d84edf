/** Zeros where a file has never been written cost nothing; everywhere else they are written. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { WrittenMap } from '../../../receiver/target/written-map.ts';
import { assertDiskHolds } from '../../support/disk-comparison.ts';
import { openFileTarget } from '../../support/disk-targets.ts';
import { prng } from '../../support/prng.ts';
import { tempDir } from '../../support/temp-dir.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

test('a range that was written is never reported as unwritten, and runs end where the state changes', () => {
  for (let seed = 1; seed <= 600; seed++) {
    const random = prng(seed);
    // The end of a file of more than a terabyte has larger chunks.
    const chunkBytes = seed % 2 === 0 ? 64 * KIB : 128 * KIB;
    const base = seed % 2 === 0 ? 0 : 2 ** 40;
    const sizeBytes = base + 1 + random.below(40 * chunkBytes);
    const map = new WrittenMap(sizeBytes);
    const model = new Set<number>();
    for (let writes = random.below(8); writes > 0; writes--) {
      const offset = base + random.below(sizeBytes - base);
      const length = 1 + random.below(Math.min(6 * chunkBytes, sizeBytes - offset));
      map.add(offset, length);
      const last = Math.floor((offset + length - 1) / chunkBytes);
      for (let chunk = Math.floor(offset / chunkBytes); chunk <= last; chunk++) model.add(chunk);
    }
    const from = base + random.below(sizeBytes - base);
    const end = from + 1 + random.below(sizeBytes - from);
    for (let at = from, before: boolean | undefined; at < end;) {
      const [runBytes, isWritten] = map.runFrom(at, end - at);
      assert(runBytes > 0 && at + runBytes <= end, `seed ${seed}`);
      assert.notEqual(isWritten, before, `seed ${seed}: two runs in one state`);
      for (let place = at; place < at + runBytes; place += 4096) {
        assert.equal(isWritten, model.has(Math.floor(place / chunkBytes)), `seed ${seed}, byte ${place}`);
      }
      before = isWritten;
      at += runBytes;
    }
  }
});

test('anything may be past the end', () => {
  const map = new WrittenMap(3 * MIB);
  assert.deepEqual(map.runFrom(2 * MIB, 5 * MIB), [MIB, false]);
  assert.deepEqual(map.runFrom(3 * MIB, 4 * MIB), [4 * MIB, true]);
  // A size that does not fill the last eight chunks.
  assert.deepEqual(new WrittenMap(MIB + 100).runFrom(0, 4 * MIB), [MIB + 64 * KIB, false]);
});

test('zeros after a write in a new file are zeros', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  const target = await openFileTarget(path);
  await target.prepare(64 * MIB);
  await target.write(prng(1).bytes(MIB + 5000), 20 * MIB + 100);
  await target.writeZeros(0, 64 * MIB);
  await assertDiskHolds(path, Buffer.alloc(64 * MIB));
  await target.close();
});

test('a file that held something is not taken for empty, whatever its length becomes', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, Buffer.alloc(4 * MIB, 0xa5));
  const target = await openFileTarget(path);
  await target.prepare(8 * MIB);
  await target.writeZeros(0, 8 * MIB);
  await assertDiskHolds(path, Buffer.alloc(8 * MIB));
  await target.close();
});
