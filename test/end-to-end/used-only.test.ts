/** `--used-only` with real file systems: the copy is checked by fsck and file by file, not by the map. */
import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, mounted, skipUnlessPartitions, type LoopDevice } from '../support/loop-device.ts';
import { MIB, startReceiver, startSender, until, type Receiver } from '../support/processes.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { replacedTools, skipUnlessReplaceable, withoutTools } from '../support/replaced-tools.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';
import {
  age,
  assertLeftOut,
  assertSameFiles,
  fillWithOldData,
  leftOutOf,
  sendUsed,
} from '../support/used-only.ts';

const skip =
  skipUnlessPartitions ||
  unlessInstalled('partclone.extfs', 'mkfs.xfs', 'xfs_io', 'mkfs.vfat', 'mkfs.ntfs', 'mcopy');

const PARTITIONS = ['48MiB', '64MiB', '48MiB', '32MiB', '8MiB'];
const DISK_BYTES = 216 * MIB;

/** A disk with partitions: ext4, xfs, vfat, ntfs, swap; the last is followed by a gap. */
async function diskWithAll({ isOld }: { readonly isOld: boolean }): Promise<LoopDevice> {
  const disk = await loopDevice(DISK_BYTES);
  if (isOld) await fillWithOldData(disk.path);
  const sizes = PARTITIONS.map((size) => `size=${size}\n`).join('');
  await runOk('sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', disk.path], {
    input: `label: gpt\n${sizes}`,
  });
  await run('partx', ['--update', disk.path]);
  await runOk('mkfs.ext4', ['-q', '-E', 'nodiscard', `${disk.path}p1`]);
  await runOk('mkfs.xfs', ['-q', '-K', '-f', '--unsupported', `${disk.path}p2`]);
  await runOk('mkfs.vfat', ['-F', '32', `${disk.path}p3`]);
  await runOk('mkfs.ntfs', ['--quiet', '--force', '--quick', `${disk.path}p4`]);
  await runOk('mkswap', ['--quiet', `${disk.path}p5`]);
  return disk;
}

async function ageFat(device: string): Promise<void> {
  await using folder = await tempDir();
  await age(folder.path);
  await runOk('sh', ['-c', `mcopy -i ${device} ${folder.path}/* ::`]);
  await runOk('mdel', ['-i', device, '::file-1']);
}

async function assertSameFatFiles(one: string, other: string): Promise<void> {
  await using folder = await tempDir();
  for (const [name, device] of Object.entries({ one, other })) {
    await runOk('sh', [
      '-c',
      `mkdir ${folder.path}/${name} && mcopy -i ${device} '::*' ${folder.path}/${name}`,
    ]);
  }
  await runOk('diff', ['--recursive', join(folder.path, 'one'), join(folder.path, 'other')]);
}

test('only what its file systems use is copied of a disk, and every file is there', { skip }, async () => {
  await using folder = await tempDir();
  await using source = await diskWithAll({ isOld: true });
  await using target = await loopDevice(DISK_BYTES);
  for (const partition of ['p1', 'p2']) {
    await using place = await mounted(`${source.path}${partition}`);
    await age(place.path);
  }
  await ageFat(`${source.path}p3`);
  await using receiver = await startReceiver({ folder: folder.path, target: target.path });
  const sending = await sendUsed(receiver, source.path);
  assert.equal(sending.status, 0, sending.stderr);
  const leftOut = leftOutOf(sending.stdout);
  assert(leftOut.bytes > 90 * MIB, `${leftOut.bytes} bytes`);
  for (const line of [
    /^used {5}\S+p1: \d\S+ MiB of 48 MiB, as the map of its ext4 file system says$/m,
    /^used {5}\S+p2: \d\S+ MiB of 64 MiB, as the map of its xfs file system says$/m,
    /^used {5}\S+p3: \d\S+ MiB of 48 MiB, as the map of its vfat file system says$/m,
    /^used {5}\S+p4: all of it: maps of ntfs have been wrong: --map-also ntfs takes them nevertheless$/m,
    /^used {5}\S+p5: all of it: it is swap space$/m,
    /^omitted {2}\d\S+ MiB in \d+ areas of \/dev\/loop\d+, not read: zeros on the target$/m,
  ]) {
    assert.match(sending.stderr, line);
  }
  assert.equal((await receiver.end('SIGTERM')).status, 0);
  await assertLeftOut(source.path, target.path, leftOut);
  await run('partx', ['--update', target.path]);
  await runOk('sgdisk', ['--verify', target.path]);
  await runOk('fsck.ext4', ['-f', '-n', `${target.path}p1`]);
  await runOk('xfs_repair', ['-n', `${target.path}p2`]);
  await runOk('fsck.vfat', ['-n', `${target.path}p3`]);
  await assertSameFiles(`${source.path}p1`, `${target.path}p1`);
  // The same UUID twice.
  await assertSameFiles(`${source.path}p2`, `${target.path}p2`, '--options', 'nouuid');
  await assertSameFatFiles(`${source.path}p3`, `${target.path}p3`);
});

test(
  'of NTFS the last sector is copied, which is in no map: the copy of its boot sector',
  { skip },
  async () => {
    await using folder = await tempDir();
    await using source = await loopDevice(64 * MIB);
    await using target = await loopDevice(64 * MIB);
    await fillWithOldData(source.path);
    await runOk('mkfs.ntfs', ['--quiet', '--force', '--quick', source.path]);
    await using receiver = await startReceiver({ folder: folder.path, target: target.path });
    const sending = await sendUsed(receiver, source.path, '--map-also', 'ntfs');
    assert.equal(sending.status, 0, sending.stderr);
    const leftOut = leftOutOf(sending.stdout);
    assert(leftOut.bytes > 32 * MIB, `${leftOut.bytes} bytes`);
    const isWithin = leftOut.areas.every(([at, length]) => at >= MIB && at + length <= 63 * MIB);
    assert(isWithin, JSON.stringify(leftOut));
    await assertLeftOut(source.path, target.path, leftOut);
    const sectors = [0, 64 * MIB - 512].map(async (offset) => await sectorAt(target.path, offset));
    const [boot, copy] = await Promise.all(sectors);
    assert.deepEqual(copy, boot);
    assert.equal(boot?.toString('latin1', 3, 7), 'NTFS');
    await runOk('ntfsfix', ['--no-action', target.path]);
  },
);

async function sectorAt(path: string, offset: number): Promise<Buffer> {
  await using file = await open(path, 'r');
  const sector = Buffer.alloc(512);
  await file.read(sector, 0, sector.length, offset);
  return sector;
}

test(
  'a killed run resumes with the map of that moment: what was free and is used now is sent',
  { skip },
  async () => {
    await using folder = await tempDir();
    await using source = await loopDevice(64 * MIB);
    await using target = await loopDevice(64 * MIB);
    await fillWithOldData(source.path);
    await runOk('mkfs.ext4', ['-q', '-E', 'nodiscard', source.path]);
    {
      await using place = await mounted(source.path);
      await age(place.path);
    }
    await using receiver = await startReceiver({ folder: folder.path, target: target.path });
    const options = [
      '--ticket-file',
      receiver.ticketFile,
      '--used-only',
      '--compress',
      'none',
      '--bwlimit',
      '1M',
      source.path,
    ];
    const first = await startSender(options);
    await until('a part is durable', async () => (await presentCount(receiver)) > 20);
    first.kill('SIGKILL');
    await first.ended;
    {
      await using place = await mounted(source.path);
      await runOk('sh', ['-c', `rm ${place.path}/file-1*`]);
      await writeFile(join(place.path, 'new'), prng(freshSeed()).bytes(16 * MIB));
    }
    const second = await sendUsed(receiver, source.path);
    assert.equal(second.status, 0, second.stderr);
    assert.equal((await receiver.end('SIGTERM')).status, 0);
    await assertLeftOut(source.path, target.path, leftOutOf(second.stdout));
    await runOk('fsck.ext4', ['-f', '-n', target.path]);
    await assertSameFiles(source.path, target.path);
  },
);

test(
  'what is mounted, not clean or not understood is copied whole, each with a sentence',
  { skip },
  async () => {
    await using folder = await tempDir();
    await using source = await diskWithAll({ isOld: false });
    const [ext4, xfs, vfat] = ['p1', 'p2', 'p3'].map((name) => `${source.path}${name}`) as [
      string,
      string,
      string,
    ];
    {
      await using place = await mounted(xfs);
      await writeFile(join(place.path, 'file'), 'in the log only');
      await runOk('xfs_io', ['-x', '-c', 'shutdown -f', place.path]);
    }
    await writeByte(vfat, 0x41, 1);
    await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
    const facts = async (): Promise<string> => {
      const { status, stderr } = await sendUsed(receiver, source.path, '--dry-run', '--map-also', 'btrfs');
      assert.equal(status, 3, stderr);
      return stderr;
    };
    {
      await using place = await mounted(ext4);
      const said = await facts();
      assert.match(said, new RegExp(`^used {5}${ext4}: all of it: mounted on ${place.path}$`, 'm'));
      assert.match(
        said,
        new RegExp(`^used {5}${xfs}: all of it: its xfs file system was not unmounted cleanly$`, 'm'),
      );
      assert.match(
        said,
        new RegExp(`^used {5}${vfat}: all of it: its vfat file system was not unmounted cleanly$`, 'm'),
      );
      assert.match(
        said,
        new RegExp(`^note {5}nothing of ${source.path} is left out: all of it is copied$`, 'm'),
      );
    }
    // As after a crash: the state is valid, and the journal has to be replayed.
    const incompat = 1024 + 0x60;
    const before = (await sectorAt(ext4, incompat)).readUInt8(0);
    await writeByte(ext4, incompat, before | 4);
    assert.match(
      await facts(),
      new RegExp(`^used {5}${ext4}: all of it: its ext4 file system was not unmounted`, 'm'),
    );
    await writeByte(ext4, incompat, before);
    // A bitmap that does not agree with its counters.
    await runOk('debugfs', ['-w', '-R', 'set_super_value free_blocks_count 7', ext4]);
    assert.match(
      await facts(),
      new RegExp(
        `^used {5}${ext4}: all of it: there is no map of it: partclone.extfs refuses it: bitmap free`,
        'm',
      ),
    );
  },
);

async function writeByte(path: string, offset: number, value: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.from([value]), 0, 1, offset);
  await file.sync();
}

test(
  'without partclone the package is named, and a map that it must not have made is not believed',
  { skip: skip || skipUnlessReplaceable },
  async () => {
    await using folder = await tempDir();
    await using source = await loopDevice(32 * MIB);
    await runOk('mkfs.ext4', ['-q', source.path]);
    const target = join(folder.path, 'target');
    await using receiver = await startReceiver({ folder: folder.path, target });
    const words = ['--ticket-file', receiver.ticketFile, '--used-only', '--dry-run', source.path];
    const sendUnder = async (
      under: readonly string[],
    ): Promise<{ status: number | null; stderr: string }> => {
      const sender = join(import.meta.dirname, '../../scripts/ddt-send');
      return await run(sender, words, { under });
    };
    const missing = await sendUnder(withoutTools('partclone.extfs'));
    assert.equal(missing.status, 2);
    assert.match(
      missing.stderr,
      /error: cannot find out what \S+ uses: the program partclone\.extfs is not /,
    );
    assert.match(missing.stderr, /hint: apt-get install partclone, or leave --used-only out\n/);
    for (const [map, reason] of [
      ['0 ?\\n0 0x2000000 +\\n0x2000000 0x1000 ?\\n', 'the map of partclone.extfs is too long'],
      ['0 ?\\n0 0x1000 +\\n0x800 0x1000 ?\\n', 'cannot use the mapfile of partclone.extfs: line 3 starts at'],
      ['garbage', 'cannot use the mapfile of partclone.extfs: line 1 is not the line with'],
    ] as const) {
      await using place = await tempDir();
      const script = (): string => `while [ "$1" != --output ]; do shift; done; printf '${map}' >"$2"`;
      const { status, stderr } = await sendUnder(
        await replacedTools(place.path, { 'partclone.extfs': script }),
      );
      assert.equal(status, 3, stderr);
      assert(stderr.includes(`: all of it: there is no map of it: ${reason}`), stderr);
    }
  },
);

test('a source that was written after its map was made is no proof', { skip }, async () => {
  await using folder = await tempDir();
  await using source = await loopDevice(32 * MIB);
  await using target = await loopDevice(32 * MIB);
  await fillWithOldData(source.path);
  await runOk('mkfs.ext4', ['-q', '-E', 'nodiscard', source.path]);
  await using receiver = await startReceiver({ folder: folder.path, target: target.path });
  const options = ['--ticket-file', receiver.ticketFile, '--used-only', '--bwlimit', '1M', source.path];
  const sender = await startSender(options);
  await until('it has begun', async () => (await presentCount(receiver)) > 0);
  // Where nothing is read.
  await writeByte(source.path, 20 * MIB, 1);
  const ended = await sender.ended;
  assert.equal(ended.status, 3, ended.stderr);
  assert.match(ended.stderr, /was written while it was copied: the copy is inconsistent\n/);
});

/** Blocks that the target has, read back or not. */
async function presentCount(receiver: Receiver): Promise<number> {
  const { durable, verified } = (await receiver.status()).blocks;
  return durable + verified;
}
