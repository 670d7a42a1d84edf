/** `--used-only` where it must not look inside: volumes, encryption, file systems with doubted maps. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, mounted, skipUnlessPartitions, type LoopDevice } from '../support/loop-device.ts';
import { MIB, startReceiver, type Receiver } from '../support/processes.ts';
import { notApplicable, unlessInstalled } from '../support/requires.ts';
import { run, runOk, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';
import { age, assertLeftOut, fillWithOldData, leftOutOf, sendUsed } from '../support/used-only.ts';

const skip =
  skipUnlessPartitions ||
  unlessInstalled('partclone.btrfs', 'mkfs.btrfs', 'cryptsetup', 'pvcreate', 'xfs_io') ||
  (!/\tbtrfs$/m.test(readFileSync('/proc/filesystems', 'utf8')) && notApplicable('no btrfs in this kernel'));
const DISK_BYTES = 192 * MIB;
const ALSO = ['--map-also', 'btrfs'];

async function makeBtrfs(...devices: readonly string[]): Promise<void> {
  await runOk('mkfs.btrfs', ['--quiet', '--force', '--nodiscard', ...devices]);
}

/** A btrfs full of old data where it has nothing, with the files of the folder. */
async function btrfsWith(folder: string): Promise<LoopDevice> {
  const disk = await loopDevice(DISK_BYTES);
  await fillWithOldData(disk.path);
  await makeBtrfs(disk.path);
  await using place = await mounted(disk.path);
  await runOk('cp', ['--recursive', '--no-target-directory', folder, place.path]);
  await runOk('sync', ['--file-system', place.path]);
  return disk;
}

test('of LUKS, LVM and a btrfs on two devices all is copied, each with a sentence', { skip }, async () => {
  await using folder = await tempDir();
  await using source = await loopDevice(DISK_BYTES + 128 * MIB);
  const sizes = [24, 24, 16, 120, 120].map((size) => `size=${size}MiB\n`).join('');
  await runOk('sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', source.path], {
    input: `label: gpt\n${sizes}`,
  });
  await run('partx', ['--update', source.path]);
  const part = (number: number): string => `${source.path}p${number}`;
  for (const [number, type] of [
    [1, 'luks1'],
    [2, 'luks2'],
  ] as const) {
    const quick = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
    const words = ['luksFormat', '--batch-mode', '--type', type, ...quick, part(number), '-'];
    await runOk('cryptsetup', words, { input: 'secret' });
  }
  // It would look at the disks of other tests.
  const only = `devices { filter = [ "a|^${part(3)}$|", "r|.*|" ] } backup { backup = 0 archive = 0 }`;
  await runOk('pvcreate', ['--config', only, part(3)]);
  await makeBtrfs(part(4), part(5));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const { status, stderr } = await sendUsed(receiver, source.path, '--dry-run', ...ALSO);
  assert.equal(status, 3, stderr);
  const said = stderr.split('\n');
  for (const [number, why] of [
    [1, 'it is crypto_LUKS (encrypted volume)'],
    [2, 'it is crypto_LUKS (encrypted volume)'],
    [3, 'it is LVM2_member (LVM physical volume)'],
    [4, 'its btrfs file system lies on 2 devices'],
    [5, 'its btrfs file system lies on 2 devices'],
  ] as const) {
    assert(said.includes(`used     ${part(number)}: all of it: ${why}`), stderr);
  }
  assert(said.includes(`note     nothing of ${source.path} is left out: all of it is copied`), stderr);
});

test('a btrfs is copied by its map only when it is named, and is whole', { skip }, async () => {
  await using folder = await tempDir();
  await using files = await tempDir();
  await age(files.path);
  await using target = await loopDevice(DISK_BYTES);
  {
    await using source = await btrfsWith(files.path);
    await using receiver = await startReceiver({ folder: folder.path, target: target.path });
    const doubted = await sendUsed(receiver, source.path, '--dry-run');
    assert.match(doubted.stderr, /: all of it: maps of btrfs have been wrong: --map-also btrfs takes them/);
    const leftOut = leftOutOf((await sent(receiver, source)).stdout);
    assert(leftOut.bytes > 100 * MIB, `${leftOut.bytes} bytes`);
    await assertLeftOut(source.path, target.path, leftOut);
    assert.equal((await receiver.end('SIGTERM')).status, 0);
  }
  // The kernel takes two devices with one UUID for the same.
  await assertFiles(target, files.path);
});

test('a btrfs that was not unmounted is copied whole: its log is in no map', { skip }, async () => {
  await using folder = await tempDir();
  await using files = await tempDir();
  await age(files.path);
  await using target = await loopDevice(DISK_BYTES);
  {
    await using source = await btrfsWith(files.path);
    const crashed = join(folder.path, 'crashed');
    {
      await using place = await mounted(source.path, ['--options', 'commit=300']);
      // Some make a commit instead.
      for (let at = 1; at < 20 && (await logRootOf(source.backingFile)) === 0n; at++) {
        const name = `file-${1 + 3 * at}`;
        const write = ['-c', `pwrite -S ${at} 0 4096`, '-c', 'fsync'];
        for (const path of [place.path, files.path]) await runOk('xfs_io', [...write, join(path, name)]);
      }
      await runOk('cp', [source.backingFile, crashed]);
    }
    await runOk('dd', [`if=${crashed}`, `of=${source.path}`, 'bs=1M', 'conv=fsync', 'status=none']);
    assert.notEqual(await logRootOf(source.path), 0n, 'there is a log');
    await using receiver = await startReceiver({ folder: folder.path, target: target.path });
    const { stderr } = await sent(receiver, source);
    assert.match(stderr, /: all of it: its btrfs file system was not unmounted cleanly\n/);
    assert.equal((await receiver.end('SIGTERM')).status, 0);
  }
  await assertFiles(target, files.path);
});

async function sent(receiver: Receiver, source: LoopDevice): Promise<Ended> {
  const ended = await sendUsed(receiver, source.path, ...ALSO);
  assert.equal(ended.status, 0, ended.stderr);
  return ended;
}

/** Of the superblock of a btrfs. */
async function logRootOf(path: string): Promise<bigint> {
  await using file = await open(path, 'r');
  const superblock = Buffer.alloc(4096);
  await file.read(superblock, 0, superblock.length, 64 * 1024);
  return superblock.readBigUInt64LE(96);
}

async function assertFiles(disk: LoopDevice, files: string): Promise<void> {
  await using place = await mounted(disk.path);
  await runOk('diff', ['--recursive', files, place.path]);
  await runOk('btrfs', ['scrub', 'start', '-B', '-r', place.path]);
}
