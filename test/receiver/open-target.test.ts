import assert from 'node:assert/strict';
import { access, mkdir, readdir, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { TransferError } from '../../common/errors.ts';
import { findTarget } from '../../receiver/open-target.ts';
import { refuseContent, type FoundTarget } from '../../receiver/target/found-target.ts';
import {
  loopDevice,
  mounted,
  mountedElsewhere,
  partition,
  skipUnlessLoop,
  skipUnlessPartitions,
} from '../support/loop-device.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const MIB = 1024 * 1024;
const needsLoop = { skip: skipUnlessLoop };
const needsPartitions = { skip: skipUnlessPartitions };
/** No target of these tests is in it. */
const STATE_DIR = '/var/lib/dd-transfer';

/** What is found, closed again. */
async function find(path: string): Promise<FoundTarget> {
  await using found = await findTarget(path, STATE_DIR);
  return found;
}

type When = 'always' | 'unless allowed';

async function assertRefused(path: string, when: When, message: RegExp, hint?: RegExp): Promise<void> {
  const attempt = async (): Promise<void> => {
    const found = await find(path);
    assert.equal(when, 'unless allowed', `${path} is taken`);
    refuseContent(found);
  };
  await assert.rejects(attempt(), (error) => {
    assert(error instanceof TransferError, String(error));
    assert.equal(error.code, 'target-refused');
    assert.match(error.message, message);
    assert.match(error.hint ?? '', hint ?? /./);
    return true;
  });
  if (when === 'unless allowed') assert.equal((await find(path)).isAbsent, false);
}

test('an empty device is accepted, with its identity', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB, { sectorBytes: 4096 });
  const { identity, content, isAbsent } = await find(device.path);
  assert.deepEqual([content, isAbsent], [[], false]);
  assert.deepEqual([identity.kind, identity.path, identity.fileId], ['device', device.path, null]);
  assert.deepEqual([identity.sizeBytes, identity.logicalSectorBytes], [8 * MIB, 4096]);
});

test('a device with a file system is refused by the name of the file system', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', '-L', 'photos', device.path]);
  const message =
    /^cannot write to \/dev\/loop\d+ \(loop device .*, 8 MiB\): it is not empty: ext4 file system "photos"$/;
  await assertRefused(device.path, 'unless allowed', message, /--overwrite-target/);
  const { content } = await find(device.path);
  assert.deepEqual(content, ['ext4 file system "photos"']);
});

test(
  'a device with a partition table is refused with what its partitions hold',
  needsPartitions,
  async () => {
    await using device = await loopDevice(32 * MIB);
    const [first] = await partition(device.path, 'gpt');
    await runOk('mkswap', [first]);
    const message = /: it is not empty: gpt partition table, partition 1: swap space$/;
    await assertRefused(device.path, 'unless allowed', message, /--overwrite-target/);
  },
);

test('a device with a single byte of data anywhere is not empty', needsLoop, async () => {
  const sizeBytes = 4 * MIB + 512;
  for (const offset of [0, 2 * MIB, sizeBytes - 1]) {
    await using device = await loopDevice(sizeBytes);
    const bytes = Buffer.alloc(Math.min(128 * 1024, sizeBytes - offset), 1);
    const where = [`of=${device.path}`, `seek=${offset}`, 'oflag=seek_bytes', 'conv=notrunc', 'status=none'];
    await runOk('dd', where, { input: bytes });
    await assertRefused(device.path, 'unless allowed', /: it is not empty: data of an unknown kind$/);
  }
});

test('a mounted partition is always refused, and so is its disk', needsPartitions, async () => {
  await using device = await loopDevice(32 * MIB);
  const [, second] = await partition(device.path, 'gpt');
  await runOk('mkfs.ext4', ['-q', second]);
  await using folder = await mounted(second);
  const mount = `mounted on ${folder.path}$`;
  await assertRefused(second, 'always', new RegExp(`: it is in use: ${mount}`), /^lsblk /);
  await assertRefused(device.path, 'always', new RegExp(`: it is in use: ${second}: ${mount}`), /^lsblk /);
});

test('a device mounted in another mount namespace is always refused', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using folder = await tempDir();
  await using other = await mountedElsewhere(device.path, folder.path);
  await assertRefused(device.path, 'always', new RegExp(`\\(as process ${other.pid} sees it\\)$`));
});

test('a read-only device and one without a medium are always refused', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB, { isReadOnly: true });
  await assertRefused(device.path, 'always', /: the device is read-only$/, /^blockdev --setrw \/dev\/loop/);
  await using empty = await loopDevice(0);
  await assertRefused(empty.path, 'always', /: there is no medium in it$/, /^lsblk /);
});

test('a file attached to a loop device is always refused', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  const message = new RegExp(`: it is in use: attached to ${device.path}$`);
  await assertRefused(
    device.backingFile,
    'always',
    message,
    new RegExp(`^detach it: losetup --detach ${device.path}$`),
  );
});

test('a file that does not exist yet is accepted but not created', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'new disk.img');
  const { identity, content, isAbsent } = await find(path);
  assert.deepEqual(
    [identity.kind, identity.path, identity.fileId, identity.sizeBytes],
    ['file', path, null, null],
  );
  assert.deepEqual([content, isAbsent], [[], true]);
  await assert.rejects(access(path), { code: 'ENOENT' });
});

test('a missing name under /dev is refused, through links and mounts too', async () => {
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

test('a regular file in /dev is refused: it is the trace of a mistake', needsLoop, async () => {
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
  'a file is not created without a folder, without permission, or through a dangling link',
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

test('a target in the state folder is refused, whatever links and mounts lead there', needsLoop, async () => {
  await using folder = await tempDir();
  const [state, links] = [join(folder.path, 'state'), join(folder.path, 'links')];
  for (const each of [state, join(state, 'journal'), links]) await mkdir(each);
  for (const each of ['key', 'journal/journal.db']) await writeFile(join(state, each), 'precious');
  await using view = await mounted(state, ['--bind']);
  await symlink(join(state, 'key'), join(links, 'key'));
  await symlink(join(links, 'key'), join(links, 'again'));
  await symlink(state, join(links, 'folder'));
  await symlink(view.path, join(links, 'view'));
  const names = ['key', 'again', 'folder/key', 'folder/new.img', 'folder/journal/journal.db'];
  for (const name of [...names, 'folder/journal/new.img', 'view/key', 'view/new.img']) {
    const path = join(links, name);
    const message = `cannot write to ${path}: it is in the state folder ${state}`;
    await assert.rejects(findTarget(path, state), { code: 'target-refused', message });
  }
});

async function readOnlyFolder(): Promise<AsyncDisposable & { path: string }> {
  const folder = await mounted('tmpfs', ['-t', 'tmpfs', '-o', 'size=64k']);
  await writeFile(join(folder.path, 'present'), '');
  await runOk('mount', ['-o', 'remount,ro', folder.path]);
  return folder;
}

test('a file with anything in it is refused; an empty one or a hole is accepted', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, '');
  assert.deepEqual((await find(path)).content, []);
  await truncate(path, 8 * MIB);
  const { content, identity } = await find(path);
  const { dev, ino } = await stat(path, { bigint: true });
  assert.deepEqual([content, identity.fileId, identity.sizeBytes], [[], `${dev}:${ino}`, null]);
  await writeFile(path, 'precious'.repeat(2048));
  await assertRefused(path, 'unless allowed', /: a regular file of 16 KiB$/, /--overwrite-target/);
  const luks = Buffer.alloc(8 * MIB);
  luks.write('LUKS\xba\xbe\x00\x02', 'latin1');
  await writeFile(path, luks);
  await assertRefused(path, 'unless allowed', /: a regular file of 8 MiB, crypto_LUKS \(encrypted volume\)$/);
});

test('a file is no hole only because its file system counts no blocks', needsLoop, async () => {
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
