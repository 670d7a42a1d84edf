/** What a disk holds already is adopted: an old copy of dd(1) is read once, and only differences travel. */
import assert from 'node:assert/strict';
import { copyFile, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, mounted, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  runReceiver,
  runSender,
  sendAll,
  startReceiver,
  startSender,
  until,
} from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = 64 * 1024;
const SMALL = ['--block-size', '64KiB'];

async function changeBlocks(path: string, indexes: readonly number[]): Promise<void> {
  await using file = await open(path, 'r+');
  for (const index of indexes) {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, index * BLOCK);
    await file.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, index * BLOCK);
  }
}

for (const kind of ['file', 'device'] as const) {
  const options = { skip: kind === 'device' && skipUnlessLoop };
  test(`a copy that dd has made on a ${kind} is adopted`, options, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const source = join(folder.path, 'source');
    await writeFile(source, prng(seed).bytes(16 * MIB));
    await using device = kind === 'device' ? await loopDevice(16 * MIB, { directIo: true }) : undefined;
    const target = device?.path ?? join(folder.path, 'target');
    await runOk('dd', [`if=${source}`, `of=${target}`, 'bs=1M', 'status=none']);
    await changeBlocks(source, [0, 17, 255]);
    await using receiver = await startReceiver({ folder: folder.path, target, options: ['--adopt'] });
    const ended = await runSender([...SMALL, '--ticket-file', receiver.ticketFile, source]);
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, /^adopt {4}the receiver is reading the target: \d+ %$/m);
    assert.match(ended.stdout, /^blocks {3}3 of 256 blocks had changed or were missing and were sent/m);
    await assertEqualFiles(source, target);
  });
}

test('an adoption is resumed after kill -9 of the receiver and of the sender', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(96 * MIB));
  await copyFile(source, target);
  await changeBlocks(source, [3, 1500]);
  await using receiver = await startReceiver({ folder: folder.path, target, options: ['--adopt'] });
  const directly = ['--ticket-file', receiver.ticketFile, source];
  await using sender = await startSender([...SMALL, ...directly]);
  await until('it is claimed', async () => (await receiver.status()).state === 'open');
  await receiver.end('SIGKILL');
  sender.kill('SIGKILL');
  await bounded('the sender to end', sender.ended);
  await receiver.start();
  const { blocksSent } = await sendAll(...directly);
  assert.equal(blocksSent, 2);
  await assertEqualFiles(source, target);
});

test('a disk in use is not adopted', { skip: skipUnlessLoop }, async () => {
  await using folder = await tempDir();
  await using device = await loopDevice(16 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using place = await mounted(device.path);
  const ended = await runReceiver(['--state-dir', join(folder.path, 'state'), '--adopt', device.path]);
  assert.equal(ended.status, 4, ended.stderr);
  assert.match(ended.stderr, /error: .*mounted/);
  assert(place.path.length > 0);
});
