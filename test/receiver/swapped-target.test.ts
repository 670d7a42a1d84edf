/** What can be swapped between the steps find → open → confirm, by name or below it. */
import assert from 'node:assert/strict';
import { lstat, mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { changeOf, openDisk } from '../../common/disk/open-disk.ts';
import { findTarget } from '../../receiver/open-target.ts';
import { refuseChanged, watchSource } from '../../sender/preflight/source-watch.ts';
import { coded } from '../support/coded.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const MIB = 1024 * 1024;
const STATE_DIR = '/var/lib/dd-transfer';
const needsLoop = { skip: skipUnlessLoop };
const needsPerl = { skip: skipUnlessLoop || unlessInstalled('perl') };

/** Finds the target, swaps, and opens it, which must be refused. */
async function assertRefusedAfter(path: string, swap: () => Promise<void>, message: RegExp): Promise<void> {
  await using found = await findTarget(path, STATE_DIR);
  await swap();
  await assert.rejects(found.open(), coded('target-refused', { message }));
}

test('a file that is replaced, deleted, moved or longer once it was found is refused', async () => {
  await using folder = await tempDir();
  const [path, other] = [join(folder.path, 'disk.img'), join(folder.path, 'other')];
  const cases: readonly (readonly [() => Promise<void>, RegExp])[] = [
    [async () => await rename(other, path), /: its name leads to another file now$/],
    [async () => await rm(path), /: that file is not there any more$/],
    [async () => await rename(path, other), /: that file is not there any more$/],
    [async () => await truncate(path, 9), /: it has 9 bytes now, and had 8 before$/],
  ];
  for (const [swap, message] of cases) {
    await writeFile(path, 'original');
    await writeFile(other, 'precious');
    await assertRefusedAfter(path, swap, message);
    if (message.source.includes('another')) assert.equal(await readFile(path, 'utf8'), 'precious');
  }
});

test('a link that is re-pointed once the device was found is refused', needsLoop, async () => {
  await using folder = await tempDir();
  await using found = await loopDevice(8 * MIB);
  await using other = await loopDevice(8 * MIB);
  const path = join(folder.path, 'by-id');
  await symlink(found.path, path);
  const swap = async (): Promise<void> => {
    await rm(path);
    await symlink(other.path, path);
  };
  await assertRefusedAfter(path, swap, /: its name leads to another disk now$/);
});

test('a file is not created where something has come into being, not even through a link', async () => {
  await using folder = await tempDir();
  const [path, other] = [join(folder.path, 'disk.img'), join(folder.path, 'other')];
  const message = /: something with this name was created meanwhile$/;
  await assertRefusedAfter(path, async () => await writeFile(path, 'precious'), message);
  assert.equal(await readFile(path, 'utf8'), 'precious');
  await rm(path);
  await assertRefusedAfter(path, async () => await symlink(other, path), message);
  await assert.rejects(lstat(other), { code: 'ENOENT' });
});

test('a new file goes into the folder that was inspected, or nowhere', async () => {
  await using folder = await tempDir();
  const [inspected, theirs, aside] = ['a', 'b', 'aside'].map((name) => join(folder.path, name));
  assert(inspected !== undefined && theirs !== undefined && aside !== undefined);
  for (const each of [inspected, theirs]) await mkdir(each);
  const swap = async (): Promise<void> => {
    await rename(inspected, aside);
    await symlink(theirs, inspected);
  };
  const path = join(inspected, 'disk.img');
  await assertRefusedAfter(path, swap, /: that file is not there any more$/);
  for (const each of [aside, theirs]) {
    await assert.rejects(lstat(join(each, 'disk.img')), { code: 'ENOENT' });
  }
});

test(
  'an inspected loop device cannot be given another file, before or after it is open',
  needsLoop,
  async () => {
    await using folder = await tempDir();
    const other = join(folder.path, 'other');
    await writeFile(other, Buffer.alloc(8 * MIB, 7));
    await using device = await loopDevice(8 * MIB);
    const swap = async (): Promise<void> => {
      await run('losetup', ['--detach', device.path]);
      const { status } = await run('losetup', [device.path, other]);
      assert.notEqual(status, 0, 'it is still attached');
    };
    {
      await using found = await findTarget(device.path, STATE_DIR);
      await swap();
      const { target } = await found.open();
      await swap();
      await target.confirm();
      await target.write(Buffer.alloc(MIB, 1), 0);
      await target.flush();
      await target.close();
    }
    assert((await readFile(device.backingFile)).subarray(0, MIB).equals(Buffer.alloc(MIB, 1)));
    assert((await readFile(other)).equals(Buffer.alloc(8 * MIB, 7)));
    // It was detached when the last descriptor was closed.
    await runOk('losetup', [device.path, device.backingFile]);
  },
);

test('a device that was given another file between two looks is another disk', needsLoop, async () => {
  await using folder = await tempDir();
  const other = join(folder.path, 'other');
  await writeFile(other, Buffer.alloc(8 * MIB, 7));
  await using device = await loopDevice(8 * MIB);
  const known = await (async () => {
    await using disk = await openDisk(device.path, 'target-refused');
    return disk.description;
  })();
  await runOk('losetup', ['--detach', device.path]);
  await runOk('losetup', [device.path, other]);
  await using disk = await openDisk(device.path, 'target-refused');
  assert.equal(await changeOf(known, disk.handle), 'another disk or medium has its place now');
  assert.equal(await changeOf(disk.description, disk.handle), undefined);
});

test('a device that changes its size once it is open is refused', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await using found = await findTarget(device.path, STATE_DIR);
  const { target } = await found.open();
  await target.confirm();
  await truncate(device.backingFile, 16 * MIB);
  await runOk('losetup', ['--set-capacity', device.path]);
  const message = /: it has 16777216 bytes now, and had 8388608 before$/;
  await assert.rejects(target.confirm(), coded('target-refused', { message }));
  await target.close();
});

test('a source whose medium is changed below its descriptor is not sent', needsPerl, async () => {
  await using folder = await tempDir();
  const other = join(folder.path, 'other');
  await writeFile(other, Buffer.alloc(8 * MIB, 7));
  await using device = await loopDevice(8 * MIB, { isReadOnly: true });
  await using disk = await openDisk(device.path, 'source-refused');
  const watched = await watchSource(disk);
  await refuseChanged(watched);
  // LOOP_CHANGE_FD (loop(4)): as a drive does that is given another disc.
  const change = 'open(L, "<", $ARGV[0]); open(F, "<", $ARGV[1]); ioctl(L, 0x4C06, fileno(F)) or die $!';
  await runOk('perl', ['-e', change, device.path, other]);
  await assert.rejects(
    refuseChanged(watched),
    coded('source-refused', { message: /: another disk or medium has its place now$/ }),
  );
});
