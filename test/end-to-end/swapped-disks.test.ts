/**
 * A name that leads to another disk or file by the time it is used: links and files are swapped while the
 * commands stand still, right after a program has looked.
 */
import assert from 'node:assert/strict';
import {
  chmod,
  chown,
  mkdir,
  readFile,
  readlink,
  rename,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop, type LoopDevice } from '../support/loop-device.ts';
import {
  MIB,
  Receiver,
  PROGRAMS,
  bounded,
  environment,
  runSender,
  sha256sum,
  startReceiver,
} from '../support/processes.ts';
import { heldTool, replacedTools, skipUnlessReplaceable } from '../support/replaced-tools.ts';
import { runOk, start, type Ended } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

const needsLoop = { skip: skipUnlessLoop || skipUnlessReplaceable };
/** Some user who is not root. */
const OTHER_USER = 12_345;

/** Atomically, as udev does. */
async function link(path: string, end: string): Promise<void> {
  await symlink(end, `${path}.new`);
  await rename(`${path}.new`, path);
}

/** What would be a loss: a disk with a file system. */
async function preciousDisk(): Promise<LoopDevice> {
  const device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', '-L', 'photos', device.path]);
  return device;
}

/** Starts a receiver, swaps when this program has looked, and lets it go on. @returns how it ended. */
async function swapAfter(tool: string, target: string, swap: () => Promise<void>): Promise<Ended> {
  await using folder = await tempDir();
  await using held = await heldTool(folder.path, tool);
  const under = await replacedTools(folder.path, { [tool]: held.script });
  await using receiver = new Receiver({ target, folder: folder.path });
  const started = await receiver.spawn({ under });
  await bounded(`${tool} to look`, Promise.race([held.done(), started.ended]));
  await swap();
  await held.release();
  // Where it goes on it listens, and never ends.
  const listening = started.waitForLine(/^listening on /).then(
    () => started.killGroup('SIGKILL'),
    () => undefined,
  );
  const ended = await started.ended;
  await listening;
  return ended;
}

function assertRefused({ status, stderr }: Ended, message: RegExp): void {
  assert.equal(status, 4, stderr);
  assert.match(stderr, message);
}

const IS_SWAPPED = /it is not what was inspected: its name leads to another (disk|file) now[\n;]/;

for (const tool of ['lsblk', 'wipefs']) {
  test(`a link that leads to another disk once ${tool} has looked is refused`, needsLoop, async () => {
    await using folder = await tempDir();
    await using empty = await loopDevice(8 * MIB);
    await using precious = await preciousDisk();
    const before = await sha256sum(precious.path);
    const path = join(folder.path, 'by-id');
    await link(path, empty.path);
    const ended = await swapAfter(tool, path, async () => await link(path, precious.path));
    assertRefused(ended, IS_SWAPPED);
    assert.equal(await sha256sum(precious.path), before);
  });
}

test('a file in a folder of another user that becomes a link at the lock is refused', needsLoop, async () => {
  await using folder = await tempDir();
  const [secret, theirs] = [join(folder.path, 'secret'), join(folder.path, 'theirs')];
  await writeFile(secret, 'precious');
  await mkdir(theirs);
  const path = join(theirs, 'disk.img');
  await writeFile(path, '');
  for (const each of [theirs, path]) await chown(each, OTHER_USER, OTHER_USER);
  assertRefused(await swapAfter('flock', path, async () => await link(path, secret)), IS_SWAPPED);
  assert.equal(await readFile(secret, 'utf8'), 'precious');
});

test(
  'a new file that is replaced at the lock is refused, and what replaced it is left alone',
  needsLoop,
  async () => {
    await using folder = await tempDir();
    const [secret, path] = [join(folder.path, 'secret'), join(folder.path, 'disk.img')];
    await writeFile(secret, 'precious');
    const gone = async (): Promise<void> => await rename(path, `${path}.aside`);
    assertRefused(await swapAfter('flock', path, gone), /that file is not there any more[\n;]/);
    await unlink(`${path}.aside`);
    assertRefused(await swapAfter('flock', path, async () => await link(path, secret)), IS_SWAPPED);
    assert.equal(await readlink(path), secret);
    assert.equal(await readFile(secret, 'utf8'), 'precious');
  },
);

/** Where others than root could swap things. A receiver that is no longer root looks into no other folder. */
async function sharedFolder(): Promise<TempDir> {
  const folder = await tempDir();
  await chmod(folder.path, 0o711);
  return folder;
}

test('a target whose name leads elsewhere when a sender comes is refused to it', needsLoop, async () => {
  await using folder = await sharedFolder();
  await using empty = await loopDevice(8 * MIB);
  await using precious = await preciousDisk();
  const before = await sha256sum(precious.path);
  const [path, source] = [join(folder.path, 'by-id'), join(folder.path, 'source')];
  await writeFile(source, Buffer.alloc(MIB, 7));
  await link(path, empty.path);
  await using receiver = await startReceiver({ target: path, folder: folder.path });
  await link(path, precious.path);
  assertRefused(await runSender(['--ticket-file', receiver.ticketFile, source]), IS_SWAPPED);
  assert.equal((await receiver.status()).state, 'unclaimed');
  await link(path, empty.path);
  const sent = await runSender(['--ticket-file', receiver.ticketFile, source]);
  assert.equal(sent.status, 0, sent.stderr);
  // Resuming writes too.
  await link(path, precious.path);
  assertRefused(await runSender(['--ticket-file', receiver.ticketFile, source]), IS_SWAPPED);
  assert.equal(await sha256sum(precious.path), before);
});

test('a file that is replaced, or gets content, before a sender comes is refused to it', async () => {
  await using folder = await sharedFolder();
  const [path, source] = [join(folder.path, 'disk.img'), join(folder.path, 'source')];
  await writeFile(source, Buffer.alloc(MIB, 7));
  await using receiver = await startReceiver({ target: path, folder: folder.path });
  const send = async (): Promise<Ended> => await runSender(['--ticket-file', receiver.ticketFile, source]);
  await rename(path, `${path}.aside`);
  assertRefused(await send(), /that file is not there any more[\n;]/);
  await writeFile(path, 'precious');
  assertRefused(await send(), IS_SWAPPED);
  assert.equal(await readFile(path, 'utf8'), 'precious');
  await rename(`${path}.aside`, path);
  await writeFile(path, 'precious');
  assertRefused(await send(), /it has 8 bytes now, and had 0 before[\n;]/);
  assert.equal(await readFile(path, 'utf8'), 'precious');
});

test('a source whose name leads elsewhere once it was shown is not sent', needsLoop, async () => {
  await using folder = await tempDir();
  await using shown = await loopDevice(8 * MIB);
  await using other = await loopDevice(8 * MIB);
  const [path, target] = [join(folder.path, 'by-id'), join(folder.path, 'disk.img')];
  await link(path, shown.path);
  await using receiver = await startReceiver({ target, folder: folder.path });
  await using held = await heldTool(folder.path, 'lsblk');
  const under = await replacedTools(folder.path, { lsblk: held.script });
  const args = ['--ticket-file', receiver.ticketFile, path];
  await using sender = await start(join(PROGRAMS, 'ddt-send'), args, { env: environment(), under });
  await bounded('lsblk to look', Promise.race([held.done(), sender.ended]));
  await link(path, other.path);
  await held.release();
  assertRefused(await bounded('the sender to end', sender.ended), /it is not what was shown: its name leads/);
  assert.equal((await receiver.status()).state, 'unclaimed');
});
