/** A transfer is found by its target, whatever its name, and never by a name that leads elsewhere now. */
import assert from 'node:assert/strict';
import {
  access,
  copyFile,
  link,
  mkdir,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  truncate,
} from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import { BLOCK_BYTES, SMALL_BLOCKS, assertCopied, randomSource } from '../support/copied.ts';
import { loopDevice, mounted, skipUnlessLoop } from '../support/loop-device.ts';
import {
  OWN_HOST,
  assertEqualFiles,
  doneOf,
  runReceiver,
  runSender,
  startReceiver,
  type Receiver,
} from '../support/processes.ts';
import { runOk, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const needsLoop = { skip: skipUnlessLoop };
const BLOCKS = 16;
const SIZE_BYTES = BLOCKS * BLOCK_BYTES;
const WRITTEN = 6;

/** A transfer of which the first blocks are durable; its receiver has been stopped. */
async function begun(folder: string, target: string): Promise<{ source: string; receiver: Receiver }> {
  const source = await randomSource(folder, BLOCKS);
  const bytes = await readFile(source);
  const receiver = await startReceiver({ folder, target });
  await claimByHand(receiver, SIZE_BYTES, source);
  for (let at = 0; at < WRITTEN; at++) assert.equal(await putByHand(receiver, at, blockOf(bytes, at)), 201);
  await receiver.end('SIGTERM');
  return { source, receiver };
}

async function startAs(
  { stateDir }: Receiver,
  target: string,
  ...options: readonly string[]
): Promise<Ended> {
  return await runReceiver(['--listen', `${OWN_HOST}:0`, '--state-dir', stateDir, ...options, target]);
}

/** The copy is finished by the same ticket under the other name, and only what is missing is sent. */
async function assertResumedAs(folder: string, name: string, first: Receiver, source: string): Promise<void> {
  await using second = await startReceiver({ folder, target: name, port: first.port });
  assert.match(second.process.stdout, /^target .*, holds this transfer, begun as \S+$/m);
  assert.equal(second.ticket, first.ticket);
  const sending = await runSender([
    ...SMALL_BLOCKS,
    '--progress',
    'json',
    '--ticket-file',
    second.ticketFile,
    source,
  ]);
  await assertCopied(sending, source, name);
  assert.deepEqual([doneOf(sending).blocksSkipped, doneOf(sending).blocksSent], [WRITTEN, BLOCKS - WRITTEN]);
}

test('a disk under another name is recognised, and its transfer resumed', needsLoop, async () => {
  await using folder = await tempDir();
  await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
  const { source, receiver } = await begun(folder.path, disk.path);
  const byId = join(folder.path, 'loop-by-id');
  await symlink(disk.path, byId);
  await assertResumedAs(folder.path, byId, receiver, source);
  const journals = (await readdir(receiver.stateDir)).filter((name) => /^[0-9a-f]{16}$/.test(name));
  assert.equal(journals.length, 1, 'there is no second journal');
});

test('a device node of its own for the disk is another name too', needsLoop, async () => {
  await using folder = await tempDir();
  await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
  const { source, receiver } = await begun(folder.path, disk.path);
  const node = join(folder.path, 'node');
  const [major = '', minor = ''] = (await runOk('stat', ['-c', '%Hr %Lr', disk.path])).trim().split(' ');
  await runOk('mknod', [node, 'b', major, minor]);
  await assertResumedAs(folder.path, node, receiver, source);
});

test('a file under another name is recognised, and its transfer resumed', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const { source, receiver } = await begun(folder.path, target);
  const other = join(folder.path, 'other');
  await link(target, other);
  await assertResumedAs(folder.path, other, receiver, source);
  await assertEqualFiles(source, target);
});

test('another disk of the same size is not taken for the one of a journal', needsLoop, async () => {
  await using folder = await tempDir();
  await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
  await using other = await loopDevice(SIZE_BYTES, { directIo: true });
  const { receiver } = await begun(folder.path, disk.path);
  await runOk('dd', [`if=${disk.path}`, `of=${other.path}`, 'bs=1M', 'status=none']);
  const refused = await startAs(receiver, other.path);
  assert.equal(refused.status, 4);
  assert.match(
    refused.stderr,
    /error: cannot write to \/dev\/loop\d+ \(.*\): it is not empty: data of an unknown/,
  );
});

test('--discard-transfer forgets a transfer that began under another name', needsLoop, async () => {
  await using folder = await tempDir();
  await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
  const { source, receiver } = await begun(folder.path, disk.path);
  const byId = join(folder.path, 'loop-by-id');
  await symlink(disk.path, byId);
  const options = ['--discard-transfer', '--overwrite-target', '--yes'];
  await using second = await startReceiver({ folder: folder.path, target: byId, options });
  assert.notEqual(second.ticket, receiver.ticket);
  await second.end('SIGTERM');
  // Under its first name it has the new transfer as well: the old journal would list what is gone.
  await using third = await startReceiver({
    folder: folder.path,
    target: disk.path,
    options: ['--overwrite-target'],
  });
  assert.equal((await third.status()).state, 'unclaimed');
  assert.equal(third.ticket.split('#')[1], second.ticket.split('#')[1]);
  await assertCopied(await runSender([...SMALL_BLOCKS, source, third.ticket]), source, disk.path);
});

/** An ext4 of its own: the next file gets the inode number of the one that was deleted. */
async function freshFs(): Promise<AsyncDisposable & { path: string }> {
  await using stack = new AsyncDisposableStack();
  const device = stack.use(await loopDevice(16 * 1024 * 1024));
  await runOk('mkfs.ext4', ['-q', device.path]);
  const { path } = stack.use(await mounted(device.path));
  const owned = stack.move();
  return { path, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

test('a file that was deleted and created again is told from the first', needsLoop, async () => {
  await using folder = await tempDir();
  await using fs = await freshFs();
  const target = join(fs.path, 'disk.img');
  const { receiver } = await begun(folder.path, target);
  const before = await stat(target);
  await rm(target);
  await runOk('truncate', ['-s', String(SIZE_BYTES), target]);
  assert.equal((await stat(target)).ino, before.ino, 'the inode number is used again');
  const refused = await startAs(receiver, target);
  assert.equal(refused.status, 4, refused.stdout);
  const message =
    /is not the target that this transfer began with: its creation time was 2\S+Z when the transfer/;
  assert.match(refused.stderr, message);
  assert.match(
    refused.stderr,
    /hint: name the right target, or to start over, .* with --discard-transfer, and --yes where nobody/,
  );
});

test('a target file that is gone is not created again', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const { receiver } = await begun(folder.path, target);
  await rm(target);
  const refused = await startAs(receiver, target);
  assert.equal(refused.status, 4, refused.stdout);
  assert.match(refused.stderr, /error: cannot resume: \S+disk\.img does not exist any more$/m);
  assert.match(
    refused.stderr,
    /hint: restore that file, or to start over, .* with --discard-transfer, and --yes where nobody/,
  );
  await assert.rejects(access(target));
});

test('a target file that was cut below what is listed is mended by the next run', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const { receiver, source } = await begun(folder.path, target);
  await using _receiver = receiver;
  await truncate(target, BLOCK_BYTES);
  await receiver.start();
  await assertCopied(await runSender([...SMALL_BLOCKS, source, receiver.ticket]), source, target);
});

test('a target file that a power cut made short again gets its length back', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const source = await randomSource(folder.path, BLOCKS);
  await using receiver = await startReceiver({ folder: folder.path, target });
  await claimByHand(receiver, SIZE_BYTES, source);
  await receiver.end('SIGKILL');
  await truncate(target, 0);
  await receiver.start();
  assert.equal((await stat(target)).size, SIZE_BYTES);
  await assertCopied(await runSender([...SMALL_BLOCKS, source, receiver.ticket]), source, target);
});

test('a copy of the file beside the journal of the first begins a transfer of its own', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const { receiver } = await begun(folder.path, target);
  await mkdir(join(folder.path, 'elsewhere'));
  const copy = join(folder.path, 'elsewhere', 'disk.img');
  await copyFile(target, copy);
  const refused = await startAs(receiver, copy);
  assert.equal(refused.status, 4);
  assert.match(refused.stderr, /it is not empty: a regular file of 1 MiB/);
});
