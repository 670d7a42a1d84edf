import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { chmod, mkdir, open, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { majorMinorOf } from '../../../common/disk/block-devices.ts';
import { usesOf } from '../../../common/disk/disk-uses.ts';
import { openDisk } from '../../../common/disk/open-disk.ts';
import {
  loopDevice,
  mounted,
  mountedElsewhere,
  partition,
  skipUnlessLoop,
  skipUnlessPartitions,
} from '../../support/loop-device.ts';
import { notApplicable } from '../../support/requires.ts';
import { run, runOk, start } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const needsLoop = { skip: skipUnlessLoop };
const needsPartitions = { skip: skipUnlessPartitions };

/** The texts of {@link usesOf}. */
async function textsOf(...question: Parameters<typeof usesOf>): Promise<string[]> {
  return (await usesOf(...question)).map(({ text }) => text);
}

async function usesAt(path: string): Promise<string[]> {
  await using disk = await openDisk(path, 'target-refused');
  return await textsOf({ ...disk.description, handle: disk.handle });
}

/** A small tree like /sys and /proc. A value that begins with `->` is the target of a symbolic link. */
async function writeTree(root: string, tree: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(tree)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    if (content.startsWith('->')) await symlink(content.slice(2), join(root, path));
    else await writeFile(join(root, path), content);
  }
}

const SDX_TREE = {
  'sys/dev/block/8:368': '->../../devices/block/sdx',
  'sys/dev/block/8:369': '->../../devices/block/sdx/sdx1',
  'sys/devices/block/sdx/dev': '8:368\n',
  'sys/devices/block/sdx/uevent': 'DEVNAME=sdx\n',
  'sys/devices/block/sdx/sdx1/dev': '8:369\n',
  'sys/devices/block/sdx/sdx1/partition': '1\n',
  'sys/devices/block/sdx/sdx1/uevent': 'DEVNAME=sdx1\n',
};
const SDX = { realPath: '/dev/sdx', majorMinor: '8:368', fileId: null };
const SDX1 = { realPath: '/dev/sdx1', majorMinor: '8:369', fileId: null };

test('a disk or file that nobody uses has no uses', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  assert.deepEqual(await usesAt(device.path), []);
  await using folder = await tempDir();
  await writeFile(join(folder.path, 'disk.img'), 'x');
  assert.deepEqual(await usesAt(join(folder.path, 'disk.img')), []);
});

test('a mounted disk is listed with its mount point and whether that is read-only', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  {
    await using folder = await mounted(device.path, ['-o', 'ro']);
    assert.deepEqual(await usesAt(device.path), [`mounted read-only on ${folder.path}`]);
  }
  await using folder = await mounted(device.path);
  assert.deepEqual(await usesAt(device.path), [`mounted on ${folder.path}`]);
  assert.deepEqual(await usesAt(device.backingFile), [`attached to ${device.path}`]);
});

test(
  'a disk is in use when one of its partitions is; the other partitions are not',
  needsPartitions,
  async () => {
    await using device = await loopDevice(32 * MIB);
    const [first, second] = await partition(device.path, 'dos');
    await runOk('mkfs.ext4', ['-q', second]);
    await using folder = await mounted(second);
    assert.deepEqual(await usesAt(device.path), [`${second}: mounted on ${folder.path}`]);
    assert.deepEqual(await usesAt(second), [`mounted on ${folder.path}`]);
    assert.deepEqual(await usesAt(first), []);
  },
);

test('a partition is in use when its whole disk is', needsPartitions, async () => {
  await using device = await loopDevice(32 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await runOk('addpart', [device.path, '1', '2048', '16384']);
  await using folder = await mounted(device.path);
  assert.deepEqual(await usesAt(`${device.path}p1`), [`${device.path}: mounted on ${folder.path}`]);
});

test('a mount that only another mount namespace has is found', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using folder = await tempDir();
  const place = join(folder.path, 'two words');
  await mkdir(place);
  await using other = await mountedElsewhere(device.path, place);
  assert.deepEqual(await usesAt(device.path), [`mounted on ${place} (as process ${other.pid} sees it)`]);
});

test('swap areas in use are found, on a disk and in a file', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await using folder = await tempDir();
  const file = join(folder.path, 'swap file');
  await writeFile(file, Buffer.alloc(MIB));
  await chmod(file, 0o600);
  for (const path of [device.path, file]) {
    await runOk('mkswap', [path]);
    await runOk('swapon', [path]);
    try {
      assert.deepEqual(await usesAt(path), ['a swap area in use']);
    } finally {
      await runOk('swapoff', [path]);
    }
  }
});

test('loop devices over a disk, or over the same file as a loop device, are found', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  const attach = async (path: string): Promise<string> =>
    (await runOk('losetup', ['--find', '--show', path])).trim();
  const above = await attach(device.path);
  const beside = await attach(device.backingFile);
  try {
    const uses = await usesAt(device.path);
    const sharing = `its backing file ${device.backingFile} is attached to ${beside} too`;
    assert.deepEqual(uses.sort(), [`attached to ${above}`, sharing].sort());
  } finally {
    for (const path of [above, beside]) await run('losetup', ['--detach', path]);
  }
});

test('a process that has the disk open for writing is named; a reader is not', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await using reader = await start('sh', ['-c', 'exec 3< "$0"; echo open; cat', device.path]);
  await reader.waitForLine(/^open$/);
  assert.deepEqual(await usesAt(device.path), []);
  await using writer = await start('sh', ['-c', 'exec 3<> "$0"; echo open; exec cat', device.path]);
  await writer.waitForLine(/^open$/);
  const [use = '', ...more] = await usesAt(device.path);
  assert.match(use, new RegExp(`^open for writing in (sh|cat) \\(process ${writer.pid}\\)$`));
  assert.deepEqual(more, []);
});

test('an exclusive claim is found when nothing else shows it', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await using handle = await open(device.path, constants.O_RDONLY | constants.O_EXCL);
  assert.notEqual(handle.fd, -1);
  assert.deepEqual(await usesAt(device.path), ['claimed by the kernel or by another program']);
});

test('volumes and arrays stacked on a disk or its partitions are named', async () => {
  await using root = await tempDir();
  await writeTree(root.path, {
    ...SDX_TREE,
    'sys/devices/block/sdx/holders/md0': '',
    'sys/devices/block/sdx/sdx1/holders/dm-0': '',
    'sys/block/dm-0/dm/name': 'vg-root\n',
  });
  const system = { sys: join(root.path, 'sys'), proc: join(root.path, 'proc') };
  assert.deepEqual(await textsOf(SDX, system), ['held by md0', '/dev/sdx1: held by dm-0 (vg-root)']);
  assert.deepEqual(await textsOf(SDX1, system), ['held by dm-0 (vg-root)', '/dev/sdx: held by md0']);
});

test('btrfs, which hides its disks, is found by its source and its list of disks', async () => {
  await using root = await tempDir();
  const system = { sys: join(root.path, 'sys'), proc: join(root.path, 'proc') };
  await writeTree(root.path, {
    ...SDX_TREE,
    'sys/fs/btrfs/features/raid56': '1\n',
    'sys/fs/btrfs/0b2e/devices/sdx1': '',
    'proc/self/mountinfo': '30 1 0:41 /root / rw,noatime shared:1 - btrfs /dev/sdw1 rw,ssd\n',
  });
  assert.deepEqual(await textsOf(SDX, system), ['/dev/sdx1: part of the mounted btrfs file system 0b2e']);
  const lines = ['30 1 0:41 /@ / rw shared:1 - btrfs /dev/sdx1 rw', '31 1 8:3 / /mnt rw - ext4 /dev/sda3 rw'];
  await writeFile(join(root.path, 'proc/self/mountinfo'), `${lines.join('\n')}\n`);
  assert.deepEqual(await textsOf(SDX, system), ['/dev/sdx1: mounted on / (it holds the running system)']);
});

test('a mount in many namespaces is listed once, and a chroot hides nothing', async () => {
  await using root = await tempDir();
  const mount = (point: string): string => `30 1 8:369 / ${point} rw shared:1 - ext4 /dev/sdx1 rw\n`;
  await writeTree(root.path, {
    ...SDX_TREE,
    'proc/self/ns/mnt': '->mnt:[1]',
    'proc/self/root': '->/jail',
    'proc/self/mountinfo': mount('/data'),
    'proc/17/ns/mnt': '->mnt:[1]',
    'proc/17/root': '->/',
    'proc/17/mountinfo': mount('/data') + mount('/srv'),
    'proc/18/ns/mnt': '->mnt:[2]',
    'proc/18/root': '->/',
    'proc/18/mountinfo': mount('/srv'),
  });
  const uses = await textsOf(SDX1, { sys: join(root.path, 'sys'), proc: join(root.path, 'proc') });
  assert.deepEqual(uses, ['mounted on /data', 'mounted on /srv (as process 17 sees it)']);
});

test('the disk of the running system is in use', needsLoop, async (context) => {
  const [source = ''] = (await runOk('findmnt', ['--noheadings', '--output', 'SOURCE', '/'])).split('\n');
  if (!source.startsWith('/dev/')) return context.skip(notApplicable(`/ is on ${source}, no disk`));
  // Containers may not open it.
  const { rdev } = await stat(source, { bigint: true });
  const disk = { realPath: source, majorMinor: majorMinorOf(rdev), fileId: null };
  assert.match((await textsOf(disk)).join(), /mounted on \/ \(it holds the running system\)/);
});

test('a file that was made longer is still the same file to its loop device', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await truncate(device.backingFile, 16 * MIB);
  assert.deepEqual(await usesAt(device.backingFile), [`attached to ${device.path}`]);
});
