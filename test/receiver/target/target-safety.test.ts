import assert from 'node:assert/strict';
import { access, readdir, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { inspectTarget, sameIdentity } from '../../../receiver/target/target-safety.ts';
import {
  loopDevice,
  mounted,
  mountedElsewhere,
  partition,
  skipUnlessLoop,
  skipUnlessPartitions,
} from '../../support/loop-device.ts';
import { runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const needsLoop = { skip: skipUnlessLoop };
const needsPartitions = { skip: skipUnlessPartitions };
const careful = { isOverwriteAllowed: false, isResuming: false };
const overwriting = { isOverwriteAllowed: true, isResuming: false };
const resuming = { isOverwriteAllowed: false, isResuming: true };

type When = 'always' | 'unless allowed';

async function assertRefused(path: string, when: When, message: RegExp, hint?: RegExp): Promise<void> {
  for (const options of when === 'always' ? [careful, overwriting, resuming] : [careful]) {
    await assert.rejects(inspectTarget(path, options), (error) => {
      assert(error instanceof TransferError, String(error));
      assert.equal(error.code, 'target-refused');
      assert.match(error.message, message);
      assert.match(error.hint ?? '', hint ?? /./);
      return true;
    });
  }
  if (when === 'always') return;
  assert.equal((await inspectTarget(path, overwriting)).willCreate, false);
  assert.equal((await inspectTarget(path, resuming)).willCreate, false);
}

test('an empty device is taken, with its identity', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB, { sectorBytes: 4096 });
  const { identity, content, willCreate } = await inspectTarget(device.path, careful);
  assert.deepEqual([content, willCreate], [[], false]);
  assert.deepEqual([identity.kind, identity.path, identity.fileId], ['device', device.path, null]);
  assert.deepEqual([identity.sizeBytes, identity.logicalSectorBytes], [8 * MIB, 4096]);
});

test('a device with a file system is refused, by the name of the file system', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', '-L', 'photos', device.path]);
  const message =
    /^cannot write to \/dev\/loop\d+ \(loop device .*, 8 MiB\): it is not empty: ext4 file system "photos"$/;
  await assertRefused(device.path, 'unless allowed', message, /--overwrite-target/);
  const { content } = await inspectTarget(device.path, overwriting);
  assert.deepEqual(content, ['ext4 file system "photos"']);
});

test(
  'a device with a partition table is refused, with what its partitions hold',
  needsPartitions,
  async () => {
    await using device = await loopDevice(32 * MIB);
    const [first] = await partition(device.path, 'gpt');
    await runOk('mkswap', [first]);
    const message = /: it is not empty: gpt partition table, partition 1: swap space$/;
    await assertRefused(device.path, 'unless allowed', message, /--overwrite-target/);
  },
);

test('a device with unknown data is not empty, wherever a byte of it is', needsLoop, async () => {
  const sizeBytes = 4 * MIB + 512;
  for (const offset of [0, 2 * MIB, sizeBytes - 1]) {
    await using device = await loopDevice(sizeBytes);
    const bytes = Buffer.alloc(Math.min(128 * 1024, sizeBytes - offset), 1);
    const where = [`of=${device.path}`, `seek=${offset}`, 'oflag=seek_bytes', 'conv=notrunc', 'status=none'];
    await runOk('dd', where, { input: bytes });
    await assertRefused(device.path, 'unless allowed', /: it is not empty: data of an unknown kind$/);
  }
});

test(
  'a mounted device is refused whatever is allowed, and the disk that it is a part of',
  needsPartitions,
  async () => {
    await using device = await loopDevice(32 * MIB);
    const [, second] = await partition(device.path, 'gpt');
    await runOk('mkfs.ext4', ['-q', second]);
    await using folder = await mounted(second);
    const mount = `mounted on ${folder.path}$`;
    await assertRefused(second, 'always', new RegExp(`: it is in use: ${mount}`), /^lsblk /);
    await assertRefused(device.path, 'always', new RegExp(`: it is in use: ${second}: ${mount}`), /^lsblk /);
  },
);

test('a device mounted in another mount namespace is refused whatever is allowed', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using folder = await tempDir();
  await using other = await mountedElsewhere(device.path, folder.path);
  await assertRefused(device.path, 'always', new RegExp(`\\(as process ${other.pid} sees it\\)$`));
});

test('a read-only device and one without a medium are refused whatever is allowed', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB, { isReadOnly: true });
  await assertRefused(device.path, 'always', /: the device is read-only$/, /^blockdev --setrw \/dev\/loop/);
  await using empty = await loopDevice(0);
  await assertRefused(empty.path, 'always', /: no medium is in it$/, /^lsblk /);
});

test('a file attached to a loop device is refused whatever is allowed', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  const message = new RegExp(`: it is in use: attached to ${device.path}$`);
  await assertRefused(device.backingFile, 'always', message, /^losetup --associated /);
});

test('a file that does not exist yet will be created, and inspecting creates nothing', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'new disk.img');
  const { identity, content, willCreate } = await inspectTarget(path, careful);
  assert.deepEqual(
    [identity.kind, identity.path, identity.fileId, identity.sizeBytes],
    ['file', path, null, null],
  );
  assert.deepEqual([content, willCreate], [[], true]);
  await assert.rejects(access(path), { code: 'ENOENT' });
});

test('a name under /dev that does not exist is a mistake, through links and mounts too', async () => {
  await using folder = await tempDir();
  await symlink('/dev', join(folder.path, 'dev'));
  await symlink('/dev/ddt-no-such-disk', join(folder.path, 'link'));
  const devBefore = await readdir('/dev');
  for (const path of [
    '/dev/ddt-no-such-disk',
    '/dev/disk/by-nothing/ddt',
    '/dev/shm/../ddt-no-such-disk',
    join(folder.path, 'dev', 'ddt-no-such-disk'),
    join(folder.path, 'link'),
  ]) {
    await assertRefused(path, 'always', /there is no such device, and no file is ever created/, /^lsblk /);
  }
  assert.deepEqual(await readdir('/dev'), devBefore);
});

test('a regular file in /dev is the trace of a mistake, and refused', needsLoop, async () => {
  const path = `/dev/ddt-test-${process.pid}`;
  await writeFile(path, '');
  try {
    await assertRefused(path, 'always', /: it is a regular file in \/dev, not a device$/, /^lsblk /);
    await using folder = await tempDir();
    await using view = await mounted('/dev', ['--bind']);
    await symlink(view.path, join(folder.path, 'other'));
    await assertRefused(join(folder.path, 'other', 'absent'), 'always', /there is no such device/);
  } finally {
    await runOk('rm', [path]);
  }
});

test(
  'a file is not created where there is no folder, no right, or a link to nowhere',
  needsLoop,
  async () => {
    await using folder = await tempDir();
    const [absent, link] = [join(folder.path, 'a b', 'disk.img'), join(folder.path, 'link')];
    await symlink(join(folder.path, 'nowhere'), link);
    await assertRefused(absent, 'always', /: there is no folder .*\/a b$/, /^mkdir -p '.*\/a b'$/);
    await assertRefused(link, 'always', /it is a symbolic link to .*nowhere, which does not exist$/, /^rm /);
    await writeFile(join(folder.path, 'file'), '');
    await assertRefused(
      join(folder.path, 'file', 'x'),
      'always',
      /a part of the path is not a directory/,
      /^/,
    );
    await assertRefused(folder.path, 'always', /it is a directory, not a disk or a regular file$/, /^/);
    await using readOnly = await readOnlyFolder();
    const target = join(readOnly.path, 'disk.img');
    await assertRefused(target, 'always', /is not writable: the file system is read-only$/, /^/);
    await assertRefused(
      join(readOnly.path, 'present'),
      'always',
      /: the file system is read-only$/,
      /^ls -l /,
    );
  },
);

async function readOnlyFolder(): Promise<AsyncDisposable & { path: string }> {
  const folder = await mounted('tmpfs', ['-t', 'tmpfs', '-o', 'size=64k']);
  await writeFile(join(folder.path, 'present'), '');
  await runOk('mount', ['-o', 'remount,ro', folder.path]);
  return folder;
}

test('a file with anything in it is refused, an empty one or a hole is taken', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, '');
  assert.deepEqual((await inspectTarget(path, careful)).content, []);
  await truncate(path, 8 * MIB);
  const { content, identity } = await inspectTarget(path, careful);
  const { dev, ino } = await stat(path, { bigint: true });
  assert.deepEqual([content, identity.fileId, identity.sizeBytes], [[], `${dev}:${ino}`, null]);
  await writeFile(path, 'precious'.repeat(2048));
  await assertRefused(path, 'unless allowed', /: a regular file of 16 KiB$/, /--overwrite-target/);
  const luks = Buffer.alloc(8 * MIB);
  luks.write('LUKS\xba\xbe\x00\x02', 'latin1');
  await writeFile(path, luks);
  await assertRefused(path, 'unless allowed', /: a regular file of 8 MiB, crypto_LUKS \(encrypted volume\)$/);
});

test('a file on a file system that counts no blocks is no hole', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  const path = `/sys/block/${basename(device.path)}/queue/read_ahead_kb`;
  assert.equal((await stat(path)).blocks, 0);
  await assertRefused(path, 'unless allowed', /: it is not empty: a regular file of 4 KiB$/);
});

test('a message names a few reasons, however many there are', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using folder = await mounted(device.path);
  await using views = new AsyncDisposableStack();
  for (let at = 0; at < 8; at++) views.use(await mounted(folder.path, ['--bind']));
  await assertRefused(device.path, 'always', /(mounted on \S+; ){6}and 3 more$/);
});

test('two identities are the same unless something known of them differs', async () => {
  await using folder = await tempDir();
  const { identity } = await inspectTarget(join(folder.path, 'absent'), careful);
  const disk = { ...identity, kind: 'device', path: '/dev/sdb', serial: 'A1', sizeBytes: 4096 } as const;
  assert.equal(sameIdentity(disk, { ...disk, path: '/dev/sdc', description: 'x', model: null }), undefined);
  for (const [change, difference] of [
    [{ kind: 'file' }, 'its kind was device when the transfer began and is file now'],
    [{ sizeBytes: 8192 }, 'its size in bytes was 4096 when the transfer began and is 8192 now'],
    [{ serial: 'B2' }, 'its serial number was A1 when the transfer began and is B2 now'],
    [{ serial: null }, 'its serial number was A1 when the transfer began and is unknown now'],
    [{ wwn: 'eui.1' }, 'its world-wide name was unknown when the transfer began and is eui.1 now'],
    [{ fileId: '1:2' }, 'its file (device:inode) was unknown when the transfer began and is 1:2 now'],
  ] as const) {
    const sentence = sameIdentity(disk, { ...disk, ...change });
    assert.equal(sentence, difference);
  }
});
