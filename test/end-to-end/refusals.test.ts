/** The wrong disk is never written: every refusal leaves all bytes of it as they were. */
import assert from 'node:assert/strict';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  loopDevice,
  mounted,
  partition,
  skipUnlessLoop,
  skipUnlessPartitions,
} from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  OWN_HOST,
  assertEqualFiles,
  eventsOf,
  runReceiver,
  runSender,
  sendAll,
  sha256sum,
  startReceiver,
} from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const needsLoop = { skip: skipUnlessLoop };
const needsPartitions = { skip: skipUnlessPartitions };
/** No state that a later mount could change. */
const READ_ONLY = ['-o', 'ro'];

/** The receiver ends with 4 before it has a ticket, and says why. */
async function assertRefused(target: string, message: RegExp, ...options: readonly string[]): Promise<void> {
  await using folder = await tempDir();
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder.path, 'state')];
  const ended = await runReceiver([...place, ...options, target]);
  assert.deepEqual([ended.status, ended.stdout], [4, ''], ended.stderr);
  assert.match(ended.stderr, message);
  assert.match(
    ended.stderr,
    /^ddt-receive: error: .*\n(ddt-receive: hint: .*\n)?$/,
    'one sentence, one hint',
  );
}

/** As {@link assertRefused}; neither permission to overwrite nor to forget helps. */
async function assertAlwaysRefused(device: string, message: RegExp): Promise<void> {
  const before = await sha256sum(device);
  await assertRefused(device, message);
  await assertRefused(device, message, '--overwrite-target', '--discard-transfer');
  assert.equal(await sha256sum(device), before);
}

test('a mounted device is refused', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using mount = await mounted(device.path, READ_ONLY);
  const message = /cannot write to \/dev\/loop\d+ .*: it is in use: .*mounted/;
  await assertAlwaysRefused(device.path, message);
  await access(join(mount.path, 'lost+found'));
});

test('a disk with a mounted partition is refused as a whole', needsPartitions, async () => {
  await using device = await loopDevice(32 * MIB);
  const [first] = await partition(device.path, 'gpt');
  await runOk('mkfs.ext4', ['-q', first]);
  await using _mount = await mounted(first, READ_ONLY);
  await assertAlwaysRefused(device.path, /it is in use: .*loop\d+p1.*mounted/);
});

test('a read-only device is refused', needsLoop, async () => {
  await using device = await loopDevice(MIB, { isReadOnly: true });
  await assertAlwaysRefused(device.path, /the device is read-only$/m);
});

test('a device with a file system is refused until overwriting it is allowed', needsLoop, async () => {
  await using folder = await tempDir();
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', '-L', 'photos', device.path]);
  const before = await sha256sum(device.path);
  await assertRefused(
    device.path,
    /it is not empty: ext4 file system "photos"\n.*hint: .*--overwrite-target/,
  );
  assert.equal(await sha256sum(device.path), before);
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder: folder.path, target: device.path, options });
  assert.equal(await sha256sum(device.path), before, 'nothing is written before a sender claims it');
  const source = join(folder.path, 'source');
  await writeFile(source, prng(freshSeed()).bytes(8 * MIB));
  await sendAll('--ticket-file', receiver.ticketFile, source);
  await assertEqualFiles(source, device.path);
});

test('a device that is smaller than the source is refused by both sides', needsLoop, async () => {
  await using folder = await tempDir();
  await using device = await loopDevice(MIB);
  const source = join(folder.path, 'source');
  await writeFile(source, prng(freshSeed()).bytes(MIB + 512));
  await using receiver = await startReceiver({ folder: folder.path, target: device.path });
  const before = await sha256sum(device.path);
  const ended = await runSender(['--progress', 'json', '--ticket-file', receiver.ticketFile, source]);
  assert.equal(ended.status, 4, ended.stderr);
  assert.equal(eventsOf(ended.stdout).at(-1)?.['code'], 'target-too-small');
  const claim = { size: MIB + 512, blockSize: 65_536, source: { description: 'by hand' } };
  const { status, body } = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  assert.deepEqual([status, JSON.parse(body.toString()).code], [507, 'target-too-small']);
  assert.equal(await sha256sum(device.path), before);
  assert.equal((await receiver.status()).state, 'unclaimed');
});

test('a file is not made in /dev in place of a mistyped device', async () => {
  const missing = `/dev/ddt-no-such-disk-${process.pid}`;
  await assertRefused(missing, /there is no such device, and no file is ever created under \/dev/);
  await assert.rejects(access(missing));
});

test('a folder, and a file in a folder that does not exist, are refused', async () => {
  await using folder = await tempDir();
  const inner = join(folder.path, 'inner');
  await mkdir(inner);
  await assertRefused(inner, /it is a directory, not a disk or a regular file/);
  await assertRefused(join(folder.path, 'missing', 'target'), /there is no folder/);
});

test('a file that holds something is refused until overwriting it is allowed', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target');
  await writeFile(target, 'a letter');
  await assertRefused(target, /it is not empty: a regular file of 8 bytes\n.*hint: .*--overwrite-target/);
  assert.equal(await readFile(target, 'utf8'), 'a letter');
});
