import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { KIB, MIB, assertEqualFiles, sendAll, sha256sum, startReceiver } from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const needsLoop = { skip: skipUnlessLoop };
const BLOCK = ['--block-size', '64KiB'];

for (const sectorBytes of [512, 4096]) {
  test(`a disk of ${sectorBytes}-byte sectors arrives equal on another one`, needsLoop, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    await using source = await loopDevice(16 * MIB, { sectorBytes });
    await using target = await loopDevice(16 * MIB, { sectorBytes, directIo: true });
    const bytes = prng(seed)
      .bytes(16 * MIB)
      .fill(0, 3 * MIB, 9 * MIB);
    await writeFile(source.path, bytes);
    await runOk('sync', [source.path]);
    await using receiver = await startReceiver({ folder: folder.path, target: target.path });
    const done = await sendAll(...BLOCK, '--ticket-file', receiver.ticketFile, source.path);
    assert.deepEqual([done.blocksTotal, done.blocksZero], [256, 96]);
    await assertEqualFiles(source.path, target.path);
    assert.equal((await receiver.end('SIGTERM')).status, 0);
    // Past every cache: what is on the disk itself.
    const direct = await runOk('sh', [
      '-c',
      `dd if=${target.path} iflag=direct bs=1M status=none | sha256sum`,
    ]);
    assert.equal(direct.slice(0, 64), await sha256sum(source.path));
  });
}

test('zeros are written where a disk held other data', needsLoop, async () => {
  await using folder = await tempDir();
  await using target = await loopDevice(8 * MIB);
  await fill(target.path, 8 * MIB, 0xa5);
  const source = join(folder.path, 'source');
  // Long runs, which are discarded on the device; single blocks and a tail, which are written.
  const bytes = Buffer.alloc(7 * MIB + 777).fill(1, 4 * MIB, 4 * MIB + 1);
  for (let at = 5 * MIB; at < 6 * MIB; at += 128 * KIB) bytes.fill(2, at, at + 64 * KIB);
  bytes.fill(3, 7 * MIB - 1, 7 * MIB);
  await writeFile(source, bytes);
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder: folder.path, target: target.path, options });
  const done = await sendAll(...BLOCK, source, receiver.ticket);
  assert.deepEqual([done.blocksSent, done.blocksZero], [10, 103]);
  const expected = join(folder.path, 'expected');
  await writeFile(expected, Buffer.concat([bytes, Buffer.alloc(MIB - 777, 0xa5)]));
  await assertEqualFiles(expected, target.path);
});

/** Whole sectors past the page cache, and tails through it. */
const SIZES = [1, 511, 512, 64 * KIB - 1, 64 * KIB + 1, 3 * 64 * KIB + 4096 + 513];

test('the target past the end of the source is left unchanged', needsLoop, async () => {
  for (const sizeBytes of SIZES) {
    await using folder = await tempDir();
    await using target = await loopDevice(MIB, { directIo: true });
    await fill(target.path, MIB, 0xa5);
    const source = join(folder.path, 'source');
    const bytes = prng(seed).bytes(sizeBytes);
    await writeFile(source, bytes);
    const options = ['--overwrite-target'];
    await using receiver = await startReceiver({ folder: folder.path, target: target.path, options });
    await sendAll(...BLOCK, source, receiver.ticket);
    await receiver.end('SIGTERM');
    const expected = join(folder.path, 'expected');
    await writeFile(expected, Buffer.concat([bytes, Buffer.alloc(MIB - sizeBytes, 0xa5)]));
    await assertEqualFiles(expected, target.path);
  }
});

async function fill(path: string, sizeBytes: number, value: number): Promise<void> {
  await using device = await open(path, 'r+');
  await device.write(Buffer.alloc(sizeBytes, value));
  await device.sync();
}
