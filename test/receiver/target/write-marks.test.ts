/** The count of other programs' writes is exact on a real device, and never too small while we write. */
import assert from 'node:assert/strict';
import { open, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { SlabPool } from '../../../common/io/buffers.ts';
import type { DeviceTarget } from '../../../receiver/target/device-target.ts';
import type { WriteMark } from '../../../receiver/target/target.ts';
import { BUSY_FILE_MS, FileMarks, openDeviceMarks } from '../../../receiver/target/write-marks.ts';
import { coded } from '../../support/coded.ts';
import { openDeviceTarget, openFileTarget } from '../../support/disk-targets.ts';
import { loopDevice, partition, skipUnlessLoop, skipUnlessPartitions } from '../../support/loop-device.ts';
import { bounded } from '../../support/processes.ts';
import { run, runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;
const SECTOR = 512;
const needsLoop = { skip: skipUnlessLoop };

interface OpenDevice extends AsyncDisposable {
  readonly path: string;
  readonly target: DeviceTarget;
  /** A slab of 1 MiB, full of `fill`. */
  slab(fill: number): Promise<Buffer<ArrayBuffer>>;
  /** Bytes written by others since the target was opened, with everything flushed. */
  foreign(): Promise<number | null>;
}

async function openDevice(sizeBytes = SIZE): Promise<OpenDevice> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await loopDevice(sizeBytes));
  const target = await openDeviceTarget(path);
  stack.defer(async () => await target.close());
  const slabs = new SlabPool({ slabSizeBytes: MIB, slabCount: 2 });
  const parts = stack.move();
  return {
    path,
    target,
    slab: async (fill) => (await slabs.take()).bytes.fill(fill),
    foreign: async () => {
      await target.flush();
      return (await target.writeMark()).foreignBytes;
    },
    [Symbol.asyncDispose]: async () => await parts.disposeAsync(),
  };
}

/** dd(1), as another program. */
async function dd(path: string, ...options: readonly string[]): Promise<void> {
  await runOk('dd', ['if=/dev/urandom', `of=${path}`, 'conv=notrunc', 'status=none', ...options]);
}

test(
  'no write of ours counts as foreign: whole, short, ending within a sector, or zeros',
  needsLoop,
  async () => {
    // The last sector is not a whole page.
    await using device = await openDevice(SIZE + 3 * SECTOR);
    const { target } = device;
    const bytes = await device.slab(1);
    await target.write(bytes, 0);
    await target.write(bytes.subarray(0, 3 * SECTOR), SIZE);
    await target.write(bytes.subarray(0, 1000), 5 * MIB);
    await target.write(bytes.subarray(0, 7), SIZE + 2 * SECTOR);
    await target.writeZeros(2 * MIB, 4 * MIB + SECTOR);
    await target.writeZeros(0, 4096);
    assert.equal(await device.foreign(), 0);
  },
);

for (const [how, options, bytes] of [
  ['past the page cache', ['oflag=direct', 'bs=4096', 'count=3', 'seek=5'], 3 * 4096],
  ['through the page cache, a page', ['bs=4096', 'count=1', 'seek=7'], 4096],
] as const) {
  test(`what dd writes ${how}, is counted to the byte beside our writes`, needsLoop, async () => {
    await using device = await openDevice();
    await device.target.write(await device.slab(1), 8 * MIB);
    await dd(device.path, ...options);
    assert.equal(await device.foreign(), bytes);
    await device.target.write(await device.slab(2), 8 * MIB);
    assert.equal(await device.foreign(), bytes);
    await dd(device.path, ...options);
    assert.equal(await device.foreign(), 2 * bytes);
  });
}

test('a single byte through the page cache is found, once it is flushed', needsLoop, async () => {
  await using device = await openDevice();
  await device.target.write(await device.slab(1), 0);
  await dd(device.path, 'bs=1', 'count=1', 'seek=12345');
  assert.equal((await device.target.writeMark()).foreignBytes, 0, 'it is in the page cache only');
  assert((await device.foreign()) !== 0);
});

test('what another program discards or zeroes is counted', needsLoop, async (t) => {
  await using device = await openDevice();
  await device.target.write(await device.slab(1), 0);
  await runOk('fallocate', ['--punch-hole', '--offset', '0', '--length', String(MIB), device.path]);
  const punched = await device.foreign();
  assert(punched !== null && punched > 0);
  const { status, stderr } = await run('blkdiscard', ['--force', '-o', '0', '-l', String(MIB), device.path]);
  if (status !== 0) return t.diagnostic(`no blkdiscard: ${stderr}`);
  const discarded = await device.foreign();
  assert(discarded !== null && discarded > punched, `${discarded} after ${punched}`);
});

test(
  'a partition is also written through its disk; writes to other partitions do not count',
  { skip: skipUnlessPartitions },
  async () => {
    await using device = await loopDevice(32 * MIB);
    const [first, second] = await partition(device.path, 'gpt');
    await using stack = new AsyncDisposableStack();
    const target = await openDeviceTarget(first);
    stack.defer(async () => await target.close());
    const slabs = new SlabPool({ slabSizeBytes: MIB, slabCount: 1 });
    using slab = await slabs.take();
    await target.write(slab.bytes, 0);
    await dd(second, 'oflag=direct', 'bs=4096', 'count=5');
    assert.equal((await target.writeMark()).foreignBytes, 0);
    await dd(device.path, 'oflag=direct', 'bs=4096', 'count=3', 'seek=300');
    assert.equal((await target.writeMark()).foreignBytes, 3 * 4096);
    await dd(first, 'oflag=direct', 'bs=4096', 'count=2');
    assert.equal((await target.writeMark()).foreignBytes, 5 * 4096);
  },
);

test('while our writes are in progress nothing of them counts as foreign', needsLoop, async () => {
  await using device = await openDevice();
  const { target } = device;
  const bytes = await device.slab(1);
  const over = new AbortController();
  const marks: WriteMark[] = [];
  const marking = (async () => {
    while (!over.signal.aborted) marks.push(await target.writeMark());
  })();
  // Small ones begin and end while the counter is being read.
  for (let round = 0; round < 400; round++) {
    const lengthBytes = round % 4 === 0 ? MIB : 4096;
    await target.write(bytes.subarray(0, lengthBytes), (round % 15) * MIB);
  }
  over.abort();
  await marking;
  assert(marks.length > 10);
  assert.deepEqual(
    marks.filter(({ foreignBytes }) => foreignBytes !== 0),
    [],
  );
  assert.equal(await device.foreign(), 0);
});

test(
  'after a failed write the count starts again, with another stamp, and is exact again',
  needsLoop,
  async () => {
    await using device = await openDevice();
    const { target } = device;
    const bytes = await device.slab(1);
    await dd(device.path, 'oflag=direct', 'bs=4096', 'count=1');
    const before = await target.writeMark();
    assert.equal(before.foreignBytes, 4096);
    await assert.rejects(target.write(bytes, SIZE), coded('no-space'));
    await target.write(bytes, 0);
    const after = await target.writeMark();
    assert.equal(after.foreignBytes, 0);
    assert.notEqual(after.stamp, before.stamp);
    await dd(device.path, 'oflag=direct', 'bs=4096', 'count=2');
    await target.write(bytes, MIB);
    assert.deepEqual(await target.writeMark(), { foreignBytes: 2 * 4096, stamp: after.stamp });
  },
);

test(
  'a mark taken between a failed write and the new start of the count equals none',
  needsLoop,
  async () => {
    await using device = await loopDevice(MIB);
    await using file = await open(device.path, 'r+');
    const marks = await openDeviceMarks(file);
    assert(marks !== undefined);
    marks.begin(8192);
    marks.begin(8192);
    marks.fail();
    const between = await marks.mark();
    // Lost with the base: the count of it starts again after the last write in progress.
    await dd(device.path, 'oflag=direct', 'bs=4096', 'count=1');
    marks.end();
    const after = await marks.mark();
    assert.equal(after.foreignBytes, 0);
    assert.notEqual(after.stamp, between.stamp);
    assert.deepEqual(await marks.mark(), after);
  },
);

test(
  'where not all writes of ours are counted, only equal counts prove that nobody wrote',
  needsLoop,
  async () => {
    await using device = await loopDevice(MIB);
    await using file = await open(device.path, 'r+');
    for (const lose of ['a write that the kernel did not count', 'a write through the page cache']) {
      const marks = await openDeviceMarks(file);
      assert(marks !== undefined);
      if (lose === 'a write through the page cache') marks.loseCount();
      else {
        marks.begin(4096);
        marks.end();
      }
      const first = await marks.mark();
      assert.equal(first.foreignBytes, null, lose);
      assert.deepEqual(await marks.mark(), first);
      await dd(device.path, 'oflag=direct', 'bs=4096', 'count=1');
      assert.notDeepEqual(await marks.mark(), first);
    }
  },
);

test('zeros that a device refuses to punch do not count as written', needsLoop, async () => {
  await using device = await loopDevice(MIB);
  await using file = await open(device.path, 'r+');
  const marks = await openDeviceMarks(file);
  assert(marks !== undefined);
  marks.begin(MIB);
  marks.cancel(MIB);
  assert.equal((await marks.mark()).foreignBytes, 0);
});

test(
  'a write that begins and ends while the counter is read does not make the count useless',
  needsLoop,
  async () => {
    await using device = await loopDevice(MIB);
    await using file = await open(device.path, 'r+');
    const marks = await openDeviceMarks(file);
    assert(marks !== undefined);
    const marking = marks.mark();
    marks.begin(4096);
    marks.end();
    assert.deepEqual(await marking, { foreignBytes: 0, stamp: '0' });
    await dd(device.path, 'oflag=direct', 'bs=4096', 'count=1');
    assert.equal((await marks.mark()).foreignBytes, 0, 'as if it had been that write');
    await dd(device.path, 'oflag=direct', 'bs=4096', 'count=1');
    assert.equal((await marks.mark()).foreignBytes, 4096);
  },
);

test('a file that is written, truncated or touched has another mark', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, Buffer.alloc(8192, 1));
  const target = await openFileTarget(path);
  const changes: readonly (() => Promise<unknown>)[] = [
    async () => await dd(path, 'bs=1', 'count=1', 'seek=77'),
    async () => await runOk('truncate', ['--size', '8191', path]),
    async () => await runOk('touch', [path]),
    async () => await utimes(path, 0, 0),
    async () => await target.write(Buffer.from('x'), 5),
  ];
  const marks = [await target.writeMark()];
  for (const change of changes) {
    assert.deepEqual(await target.writeMark(), marks.at(-1), 'unchanged until something changes it');
    await change();
    marks.push(await target.writeMark());
  }
  assert.equal(new Set(marks.map(({ stamp }) => stamp)).size, changes.length + 1);
  assert(marks.every(({ foreignBytes }) => foreignBytes === null));
  await target.close();
});

test('the mark of a file is older than a tick: a write right after it changes the mark', async () => {
  await using folder = await tempDir();
  await using file = await open(join(folder.path, 'disk.img'), 'w+');
  const marks = new FileMarks(file);
  for (let round = 0; round < 20; round++) {
    await file.write('a', 0);
    const before = await marks.mark();
    await file.write('b', 0);
    assert.notDeepEqual(await marks.mark(), before);
  }
});

test('a file that is written without a pause has a mark nevertheless, which equals no other', async () => {
  await using folder = await tempDir();
  await using file = await open(join(folder.path, 'disk.img'), 'w+');
  const over = new AbortController();
  const writing = (async () => {
    for (; !over.signal.aborted; await delay(2)) await file.write('a', 0);
  })();
  const marks = new FileMarks(file);
  const first = await bounded('the first mark', marks.mark(), BUSY_FILE_MS * 5);
  const second = await bounded('the second mark', marks.mark(), BUSY_FILE_MS * 5);
  over.abort();
  await writing;
  assert.notDeepEqual(first, second);
  const quiet = await marks.mark();
  assert.deepEqual(await marks.mark(), quiet);
});
