import assert from 'node:assert/strict';
import { cp, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SlabPool } from '../../../common/io/buffers.ts';
import type { DiskTarget } from '../../../receiver/target/disk-target.ts';
import { coded } from '../../support/coded.ts';
import { eventually } from '../../support/eventually.ts';
import { openDeviceTarget, openFileTarget } from '../../support/disk-targets.ts';
import { loopDevice, mounted, skipUnlessLoop } from '../../support/loop-device.ts';
import { prng } from '../../support/prng.ts';
import { run, runOk, start } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const needsLoop = { skip: skipUnlessLoop };

test('only one receiver can have a device open', needsLoop, async () => {
  await using device = await loopDevice(MIB);
  const target = await openDeviceTarget(device.path);
  const message = /^cannot open \/dev\/loop\d+ for writing: the device is in use$/;
  await assert.rejects(openDeviceTarget(device.path), coded('target-refused', { message }));
  await target.close();
  await (await openDeviceTarget(device.path)).close();
});

test('the kernel refuses a device that was mounted after it was checked', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using _folder = await mounted(device.path);
  await assert.rejects(
    openDeviceTarget(device.path),
    coded('target-refused', { message: /the device is in use$/ }),
  );
});

test('only one receiver can have a file open, and other programs see its lock', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  const target = await openFileTarget(path);
  await assert.rejects(
    openFileTarget(path),
    coded('target-refused', {
      message: /^cannot write to .*disk\.img: another process, perhaps another ddt-receive, has locked it$/,
    }),
  );
  assert.equal((await run('flock', ['--nonblock', path, 'true'])).status, 1);
  await target.close();
  assert.equal((await run('flock', ['--nonblock', path, 'true'])).status, 0);
  await (await openFileTarget(path)).close();
});

test('a file that does not exist is created empty, for its owner only', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  const target = await openFileTarget(path);
  const { size, mode, dev, ino } = await stat(path);
  assert.deepEqual([size, mode & 0o777, target.identity.fileId], [0, 0o600, `${dev}:${ino}`]);
  await target.prepare(5 * MIB + 1);
  assert.equal((await stat(path)).size, 5 * MIB + 1);
  await target.prepare(MIB);
  assert.equal((await stat(path)).size, MIB);
  await target.close();
});

test('a file that cannot be opened for writing is refused with the reason', async () => {
  await using folder = await tempDir();
  const program = join(folder.path, 'sleep');
  await cp('/bin/sleep', program);
  await using _running = await start(program, ['60']);
  const message = /^cannot open .*sleep for writing: ETXTBSY$/;
  await assert.rejects(openFileTarget(program), coded('target-refused', { message }));
});

test('a device must be at least as large as the source', needsLoop, async () => {
  await using device = await loopDevice(MIB);
  const target = await openDeviceTarget(device.path);
  const message = /\/dev\/loop\d+ is too small: it has 1048576 bytes, the source has 1049088/;
  await assert.rejects(target.prepare(MIB + 512), coded('target-too-small', { message }));
  await target.prepare(MIB);
  await target.prepare(1000);
  await target.close();
});

async function checkBeyond4Gib(target: DiskTarget, folder: string): Promise<void> {
  using slab = await new SlabPool({ slabSizeBytes: MIB, slabCount: 1 }).take();
  prng(1).bytes(MIB).copy(slab.bytes);
  const offsets = [2 ** 31, 2 ** 32, 5 * GIB - MIB];
  for (const offset of offsets) await target.write(slab.bytes, offset);
  await target.writeZeros(2 ** 32 + 4096, 3 * MIB);
  await target.flush();
  const dump = join(folder, 'part');
  for (const offset of offsets) {
    const expected = Buffer.from(slab.bytes);
    if (offset === 2 ** 32) expected.fill(0, 4096);
    const into = Buffer.alloc(MIB);
    await target.read(into, offset);
    assert(into.equals(expected));
    const where = [`skip=${offset}`, `count=${MIB}`, 'iflag=skip_bytes,count_bytes,direct', 'bs=1M'];
    await runOk('dd', [`if=${target.identity.path}`, `of=${dump}`, ...where, 'status=none']);
    assert((await readFile(dump)).equals(expected));
  }
}

test('offsets beyond 2 and 4 GiB are exact in a file', async () => {
  await using folder = await tempDir();
  const target = await openFileTarget(join(folder.path, 'disk.img'));
  await target.prepare(5 * GIB);
  await checkBeyond4Gib(target, folder.path);
  await target.close();
});

test('offsets beyond 2 and 4 GiB are exact on a device', needsLoop, async () => {
  await using folder = await tempDir();
  await using device = await loopDevice(5 * GIB);
  const target = await openDeviceTarget(device.path);
  await checkBeyond4Gib(target, folder.path);
  await target.close();
});

test('a long run of zeros takes no space in a file', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  const target = await openFileTarget(path);
  await target.prepare(4 * MIB);
  await target.write(Buffer.alloc(4 * MIB, 1), 0);
  await target.flush();
  await target.writeZeros(MIB, 2 * MIB + 100);
  assert.ok((await stat(path)).blocks * 512 < 3 * MIB);
  assert(!(await readFile(path)).subarray(MIB, 3 * MIB + 100).some((byte) => byte !== 0));
  await target.close();
});

test('read-back comes from the medium, not from the page cache', needsLoop, async () => {
  await using device = await loopDevice(MIB);
  const target = await openDeviceTarget(device.path);
  await using medium = await open(device.backingFile, 'r+');
  using slab = await new SlabPool({ slabSizeBytes: 65_536, slabCount: 1 }).take();
  const ways = [
    { into: slab.bytes, method: 'direct' },
    // O_DIRECT can't fill it.
    { into: Buffer.alloc(65_537).subarray(1), method: 'cache-dropped' },
  ];
  for (const [at, { into, method }] of ways.entries()) {
    const offset = at * 65_536;
    await target.read(into, offset);
    await medium.write(Buffer.alloc(65_536, 7), 0, 65_536, offset);
    await target.read(into, offset);
    assert.equal(into[0], 0, 'the page cache is stale');
    assert.equal(await target.readBack(into, offset), method);
    assert(into.equals(Buffer.alloc(65_536, 7)));
  }
  await target.close();
});

test(
  'slabs bypass the page cache; other memory goes through it and is on the device after a flush',
  needsLoop,
  async () => {
    await using device = await loopDevice(MIB);
    const target = await openDeviceTarget(device.path);
    using slab = await new SlabPool({ slabSizeBytes: 65_536, slabCount: 1 }).take();
    slab.bytes.fill(1);
    await target.write(slab.bytes, 0);
    await target.write(Buffer.alloc(65_536, 2), 65_536);
    // The backing file is what the device holds; the device's own page cache is not in it.
    const medium = async (): Promise<Buffer> => (await readFile(device.backingFile)).subarray(0, 131_072);
    const before = await medium();
    // The kernel may have written back the cached half as well by now.
    assert.deepEqual([before[0], before[65_535]], [1, 1]);
    await target.flush();
    const after = await medium();
    assert(after.equals(Buffer.concat([Buffer.alloc(65_536, 1), Buffer.alloc(65_536, 2)])));
    await target.close();
  },
);

test('zeros are counted up to the first other byte, and no more once the target is closed', async () => {
  await using folder = await tempDir();
  const target = await openFileTarget(join(folder.path, 'disk.img'));
  await target.prepare(64 * MIB);
  using slab = await new SlabPool({ slabSizeBytes: MIB, slabCount: 1 }).take();
  slab.bytes.fill(0).fill(1, MIB - 1);
  await target.write(slab.bytes, 20 * MIB);
  await target.flush();
  for (const [first, expected] of [
    [0, 20],
    [20, 0],
    [21, 43],
  ] as const) {
    const count = async (): Promise<number> => await target.countZeros(first * MIB, MIB, 64 - first);
    await eventually(`${expected} from ${first}`, async () => (await count()) === expected);
  }
  await target.close();
  assert.equal(await target.countZeros(0, MIB, 1), 0);
});
