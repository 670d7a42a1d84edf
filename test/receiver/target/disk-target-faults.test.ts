import assert from 'node:assert/strict';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SlabPool } from '../../../common/io/buffers.ts';
import { coded } from '../../support/coded.ts';
import { openDeviceTarget, openFileTarget } from '../../support/disk-targets.ts';
import { loopDevice, skipUnlessLoop } from '../../support/loop-device.ts';
import { run, runOk } from '../../support/run.ts';
import { tempDir, type TempDir } from '../../support/temp-dir.ts';
import { tmpfs } from '../../support/tmpfs.ts';

const MIB = 1024 * 1024;
const needsLoop = { skip: skipUnlessLoop };

/** A device of 16 MiB of which only 6 MiB can be written, like a thin volume that is full. */
async function thinDevice(folder: TempDir): Promise<TempDir> {
  const backingFile = join(folder.path, 'disk');
  await writeFile(backingFile, '');
  await truncate(backingFile, 16 * MIB);
  const path = (await runOk('losetup', ['--find', '--show', backingFile])).trim();
  return {
    path,
    async [Symbol.asyncDispose]() {
      await runOk('losetup', ['--detach', path]);
    },
  };
}

test('a full file system is no-space, and what was written stays readable', needsLoop, async () => {
  await using folder = await tmpfs('6m');
  const target = await openFileTarget(join(folder.path, 'disk.img'));
  await target.prepare(16 * MIB);
  await target.write(Buffer.alloc(MIB, 1), 0);
  await assert.rejects(target.write(Buffer.alloc(12 * MIB, 2), MIB), coded('no-space', { errno: 'ENOSPC' }));
  await target.flush();
  const into = Buffer.alloc(MIB);
  await target.read(into, 0);
  assert(into.equals(Buffer.alloc(MIB, 1)));
  await target.close();
});

for (const [sentence, between] of [
  ['the flush reports a failed write-back, once', false],
  ['the flush reports a failed write-back even when another process has synced the device first', true],
] as const) {
  test(sentence, needsLoop, async () => {
    await using folder = await tmpfs('6m');
    await using device = await thinDevice(folder);
    const target = await openDeviceTarget(device.path);
    for (let at = 0; at < 12; at++) await target.write(Buffer.alloc(MIB, at + 1), at * MIB);
    if (between) await run('sync', [device.path]);
    await assert.rejects(target.flush(), coded('io-error', { errno: 'EIO' }));
    // This proves nothing, and that is why only `durability` may flush.
    await target.flush();
    await target.close();
  });
}

test('a device that cannot take a slab fails the write', needsLoop, async () => {
  await using folder = await tmpfs('6m');
  await using device = await thinDevice(folder);
  const target = await openDeviceTarget(device.path);
  using slab = await new SlabPool({ slabSizeBytes: 8 * MIB, slabCount: 1 }).take();
  await assert.rejects(target.write(slab.bytes.fill(1), 0), coded('no-space', { errno: 'ENOSPC' }));
  await target.close();
});

test('a device that became read-only is an I/O error with its reason', needsLoop, async () => {
  await using device = await loopDevice(16 * MIB);
  const target = await openDeviceTarget(device.path);
  await runOk('blockdev', ['--setro', device.path]);
  const outcome = target.write(Buffer.alloc(4096, 1), 0);
  // The kernel would keep the flag for the next user of this loop device.
  await Promise.allSettled([outcome]);
  await runOk('blockdev', ['--setrw', device.path]);
  await assert.rejects(outcome, coded('io-error', { errno: 'EPERM' }));
  await target.close();
});

test('a device that loses its end gives read errors there, not zeros', needsLoop, async () => {
  await using device = await loopDevice(16 * MIB);
  const target = await openDeviceTarget(device.path);
  await truncate(device.backingFile, 4 * MIB);
  const into = Buffer.alloc(65_536);
  await target.read(into, 4 * MIB - 65_536);
  await assert.rejects(target.read(into, 4 * MIB - 32_768), /cannot read 65536 bytes at offset 4161536 of/);
  await target.close();
});

test('a short write is continued until it is complete or fails', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, Buffer.alloc(MIB));
  // Under this limit write(2) first writes less than asked, then fails (setrlimit(2)).
  const module = new URL('../../support/disk-targets.ts', import.meta.url).href;
  const script = `
    import { openFileTarget } from ${JSON.stringify(module)};
    const target = await openFileTarget(${JSON.stringify(path)});
    const writing = target.write(Buffer.alloc(400_000, 1), 200_001);
    await writing.catch(({ code, details }) => console.log(code, details.errno));`;
  const node = [process.execPath, '--input-type=module', '--eval', script];
  const { stdout, stderr } = await run('prlimit', ['--fsize=500000', ...node]);
  assert.equal(stdout, 'target-too-small EFBIG\n', stderr);
});
