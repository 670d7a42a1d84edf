import assert from 'node:assert/strict';
import { open, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { contentOf } from '../../../common/disk/disk-content.ts';
import { describeDisk, leadsTo, openDisk } from '../../../common/disk/open-disk.ts';
import { TransferError } from '../../../common/errors.ts';
import { loopDevice, partition, skipUnlessLoop, skipUnlessPartitions } from '../../support/loop-device.ts';
import { runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const needsLoop = { skip: skipUnlessLoop };
const needsPartitions = { skip: skipUnlessPartitions };

async function contentAt(path: string): Promise<string[]> {
  await using disk = await openDisk(path, 'target-refused');
  return await contentOf(disk);
}

test('a device is described with the size that the kernel reports', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB + 512);
  const disk = await describeDisk(device.path, 'source-refused');
  assert.equal(disk.kind, 'device');
  assert.equal(disk.sizeBytes, 8 * MIB + 512);
  assert.equal(disk.logicalSectorBytes, 512);
  assert.equal(disk.description, `loop device ${device.backingFile}`);
  assert.deepEqual([disk.serial, disk.wwn, disk.model, disk.fileId], [null, null, null, null]);
  assert.equal(disk.isReadOnly, false);
});

test('sectors of 4096 bytes and the read-only flag are recognised', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB, { sectorBytes: 4096, isReadOnly: true });
  const disk = await describeDisk(device.path, 'source-refused');
  assert.deepEqual([disk.sizeBytes, disk.logicalSectorBytes, disk.isReadOnly], [8 * MIB, 4096, true]);
});

test(
  'a partition has its own size, and the sectors and description of its disk',
  needsPartitions,
  async () => {
    await using device = await loopDevice(32 * MIB, { sectorBytes: 4096 });
    const [first] = await partition(device.path, 'gpt');
    const disk = await describeDisk(first, 'source-refused');
    assert.deepEqual([disk.sizeBytes, disk.logicalSectorBytes], [8 * MIB, 4096]);
    assert.match(disk.description, /^partition 1 of loop device/);
  },
);

test('a file is described by its length and inode, with the given path and the real one', async () => {
  await using folder = await tempDir();
  const [file, link] = [join(folder.path, 'disk.img'), join(folder.path, 'link')];
  await writeFile(file, 'x'.repeat(1000));
  await symlink(file, link);
  const disk = await describeDisk(link, 'source-refused');
  const { dev, ino } = await stat(file, { bigint: true });
  assert.equal(disk.path, link);
  assert.equal(disk.realPath, await realpath(file));
  assert.equal(disk.fileId, `${dev}:${ino}`);
  assert.deepEqual([disk.kind, disk.sizeBytes, disk.logicalSectorBytes], ['file', 1000, 512]);
});

test('anything but a disk or file is refused with what it is and the code of the caller', async () => {
  await using folder = await tempDir();
  const [pipe, socket] = [join(folder.path, 'pipe'), join(folder.path, 'socket')];
  await runOk('mkfifo', [pipe]);
  await using server = createServer().listen(socket);
  await once(server, 'listening');
  const cases = [
    [folder.path, 'it is a directory, not a disk or a regular file'],
    ['/dev/null', 'it is a character device, not a disk or a regular file'],
    [pipe, 'it is a named pipe, not a disk or a regular file'],
    [socket, 'it is a socket, not a disk or a regular file'],
    [join(folder.path, 'absent'), 'no such file or directory'],
  ] as const;
  for (const [path, reason] of cases) {
    await assert.rejects(describeDisk(path, 'source-refused'), {
      code: 'source-refused',
      message: `cannot use ${path}: ${reason}`,
    });
  }
});

test('a user who may not read a disk gets the hint to be root', needsLoop, async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'secret');
  await writeFile(file, '', { mode: 0o600 });
  process.seteuid?.(65_534);
  try {
    await assert.rejects(describeDisk(file, 'source-refused'), (error) => {
      assert(error instanceof TransferError);
      assert.equal(error.message, `cannot use ${file}: permission denied`);
      assert.equal(error.hint, 'run the command as root, for example with sudo');
      return true;
    });
  } finally {
    process.seteuid?.(0);
  }
});

test('nothing is found on a disk of zeros', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  assert.deepEqual(await contentAt(device.path), []);
});

test(
  'file systems are found on a disk and in a file, with labels that cannot harm a terminal',
  needsLoop,
  async () => {
    await using device = await loopDevice(8 * MIB);
    await runOk('mkfs.ext4', ['-q', '-L', 'a\u001b[2Jb', device.path]);
    const [found = ''] = await contentAt(device.path);
    assert.match(found, /^ext4 file system "a.*b"$/);
    assert.doesNotMatch(found, /\p{C}/u);
    assert.deepEqual(await contentAt(device.backingFile), [found]);
  },
);

test('partition tables are found with the content of the partitions', needsPartitions, async () => {
  await using device = await loopDevice(32 * MIB);
  const [first, second] = await partition(device.path, 'gpt');
  await runOk('mkswap', [first]);
  await runOk('mkfs.ext4', ['-q', '-L', 'data', second]);
  assert.deepEqual(await contentAt(device.path), [
    'gpt partition table',
    'partition 1: swap space',
    'partition 2: ext4 file system "data"',
  ]);
  assert.deepEqual(await contentAt(device.backingFile), ['gpt partition table']);
});

test('encrypted volumes and physical volumes of LVM are found by their magic', async () => {
  await using folder = await tempDir();
  const [luks, lvm] = [Buffer.alloc(8 * MIB), Buffer.alloc(8 * MIB)];
  luks.write('LUKS\xba\xbe\x00\x02', 'latin1');
  // lvm2's label.h: in the second sector, with its number and a CRC-32 from byte 20 with LVM's initial value.
  lvm.write('LABELONE', 512);
  lvm.writeUInt32LE(1, 520);
  lvm.writeUInt32LE(32, 532);
  lvm.write(`LVM2 001${'a'.repeat(32)}`, 536);
  lvm.writeUInt32LE(~crc32(lvm.subarray(532, 1024), ~0xf597a6cf >>> 0) >>> 0, 528);
  for (const [bytes, meaning] of [
    [luks, 'crypto_LUKS (encrypted volume)'],
    [lvm, 'LVM2_member (LVM physical volume)'],
  ] as const) {
    const file = join(folder.path, 'image');
    await writeFile(file, bytes);
    assert.deepEqual(await contentAt(file), [meaning]);
  }
});

test('content that cannot be read is an error, not an empty disk', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, 'x');
  await using disk = await openDisk(path, 'target-refused');
  // wipefs does not work on a folder.
  await using handle = await open(folder.path);
  await assert.rejects(contentOf({ ...disk, handle }), (error) => {
    assert(error instanceof TransferError);
    assert.equal(error.code, 'target-refused');
    const start = `cannot see what is on ${path}: wipefs: error: ${path}: `;
    assert.equal(error.message.slice(0, start.length), start);
    return true;
  });
});

test('names that lead to one file or to different ones are told apart', async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'file');
  await writeFile(file, '');
  await symlink(file, join(folder.path, 'link'));
  await using disk = await openDisk(file, 'target-refused');
  assert.equal(await leadsTo(join(folder.path, 'link'), disk.handle), true);
  for (const other of [folder.path, '/dev/null', join(folder.path, 'absent')]) {
    assert.equal(await leadsTo(other, disk.handle), false);
  }
});

test('a file keeps its time of creation, and a new file has another one', async (t) => {
  await using folder = await tempDir();
  const file = join(folder.path, 'disk.img');
  const creationOf = async (): Promise<string | null> =>
    (await describeDisk(file, 'source-refused')).createdAt;
  await writeFile(file, 'x');
  const first = await creationOf();
  if (first === null) return t.skip('this file system does not keep it');
  assert.match(first, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  await delay(20);
  await writeFile(file, 'longer');
  assert.equal(await creationOf(), first);
  await rm(file);
  await writeFile(file, 'x');
  assert.notEqual(await creationOf(), first);
});

test('a disk has one id until the next reboot, and a reused device node has another', needsLoop, async () => {
  await using folder = await tempDir();
  await using device = await loopDevice(8 * MIB);
  await using other = await loopDevice(8 * MIB);
  const idOf = async (path: string): Promise<string | null> =>
    (await describeDisk(path, 'source-refused')).bootTimeId;
  const link = join(folder.path, 'link');
  await symlink(device.path, link);
  const id = await idOf(device.path);
  assert.match(id ?? '', /^[0-9a-f-]{36} \d+$/);
  assert.equal(await idOf(link), id);
  assert.notEqual(await idOf(other.path), id);
  await runOk('losetup', ['--detach', device.path]);
  await runOk('losetup', [device.path, device.backingFile]);
  assert.notEqual(await idOf(device.path), id);
});
