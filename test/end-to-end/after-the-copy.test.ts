/** The recipes of docs/guide/after-the-copy.md, as they stand there, on copies that were just made. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { recipe } from '../support/documents.ts';
import { loopDevice, mounted, partition, skipUnlessPartitions } from '../support/loop-device.ts';
import { MIB, assertEqualFiles, sendAll, startReceiver } from '../support/processes.ts';
import { prng } from '../support/prng.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const GUIDE = 'docs/guide/after-the-copy.md';

const skipGrowing = skipUnlessPartitions || unlessInstalled('sgdisk', 'growpart', 'resize2fs');
const skipImages = unlessInstalled('qemu-img');

test('the last partition grows into the free space of a larger target', { skip: skipGrowing }, async () => {
  await using folder = await tempDir();
  await using source = await loopDevice(64 * MIB);
  await using target = await loopDevice(128 * MIB);
  const [, second] = await partition(source.path, 'gpt');
  await runOk('mkfs.ext4', ['-q', '-L', 'photos', second]);
  await using receiver = await startReceiver({ folder: folder.path, target: target.path });
  await sendAll('--ticket-file', receiver.ticketFile, source.path);
  await receiver.end('SIGTERM');
  await run('partx', ['--update', target.path]);
  const script = (await recipe(GUIDE, 'grow')).replaceAll('/dev/vdd2', `${target.path}p2`);
  await runOk('bash', ['-e', '-c', script.replaceAll('/dev/vdd', target.path)]);
  assert.match(await runOk('sgdisk', ['-v', target.path]), /No problems found/);
  await using view = await mounted(`${target.path}p2`, ['-o', 'ro']);
  const size = (await runOk('df', ['--output=size', '--block-size=1M', view.path])).split('\n')[1];
  assert(Number(size) > 90, `the file system has ${size} MiB`);
});

test('a file as the target is converted for QEMU and compared', { skip: skipImages }, async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'disk.img')];
  await writeFile(
    source,
    prng(1)
      .bytes(9 * MIB)
      .fill(0, 2 * MIB, 6 * MIB),
  );
  await using receiver = await startReceiver({ folder: folder.path, target });
  await sendAll('--ticket-file', receiver.ticketFile, source);
  const script = await recipe(GUIDE, 'image');
  assert.equal(script.match(/^qemu-img /gm)?.length, 2);
  const output = await runOk('bash', ['-e', '-c', script], { cwd: folder.path });
  assert.match(output, /Images are identical/);
  const back = join(folder.path, 'back.img');
  await runOk('qemu-img', ['convert', '-O', 'raw', join(folder.path, 'disk.qcow2'), back]);
  await assertEqualFiles(source, back);
});
