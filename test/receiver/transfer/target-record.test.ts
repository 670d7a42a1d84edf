/** What the journal keeps of the target, and senders and the receipt see of it. */
import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, mounted, skipUnlessLoop } from '../../support/loop-device.ts';
import { freshSeed, prng } from '../../support/prng.ts';
import {
  MIB,
  OWN_HOST,
  runReceiver,
  runSender,
  sendAll,
  sha256sum,
  startReceiver,
} from '../../support/processes.ts';
import { runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const needsLoop = { skip: skipUnlessLoop };
const CONTENT = ['ext4 file system "photos"'];

test(
  'what the target held at first is in the status after a restart, and in the receipt',
  needsLoop,
  async () => {
    await using folder = await tempDir();
    await using device = await loopDevice(8 * MIB, { sectorBytes: 4096 });
    await runOk('mkfs.ext4', ['-q', '-L', 'photos', device.path]);
    const options = ['--overwrite-target'];
    await using receiver = await startReceiver({ folder: folder.path, target: device.path, options });
    assert.match(receiver.process.stdout, /^target {3}.*, 8 MiB, holds ext4 file system "photos"$/m);
    assert.deepEqual((await receiver.status()).target.content, CONTENT);
    const [source, receipt] = [join(folder.path, 'source'), join(folder.path, 'receipt')];
    await writeFile(source, prng(freshSeed()).bytes(8 * MIB));
    const claim = { size: 8 * MIB, blockSize: 4 * MIB, source: { description: 'a source' } };
    await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
    await runOk('wipefs', ['--all', '--force', device.path]);
    await receiver.end('SIGKILL');
    await receiver.start();
    assert.deepEqual((await receiver.status()).target.content, CONTENT);
    await sendAll('--receipt', receipt, '--ticket-file', receiver.ticketFile, source);
    const { target } = JSON.parse(await readFile(receipt, 'utf8'));
    assert.deepEqual([target.content, target.sectorBytes, target.size], [CONTENT, 4096, 8 * MIB]);
  },
);

test('another disk behind the same link is refused by its size or by a sample', needsLoop, async () => {
  await using folder = await tempDir();
  await using right = await loopDevice(8 * MIB);
  await using twin = await loopDevice(8 * MIB);
  await using larger = await loopDevice(16 * MIB);
  const [source, link] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(freshSeed()).bytes(8 * MIB));
  await symlink(right.path, link);
  await using receiver = await startReceiver({ folder: folder.path, target: link });
  await sendAll('--ticket-file', receiver.ticketFile, source);
  await receiver.end('SIGTERM');
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', receiver.stateDir];
  for (const [other, message] of [
    [twin, /\S+target holds nothing of this transfer: all of \d+ sampled blocks differ/],
    [larger, /\S+target is not the target that this transfer began with: its size in bytes was 8388608 /],
  ] as const) {
    const before = await sha256sum(other.path);
    await unlink(link);
    await symlink(other.path, link);
    const ended = await runReceiver([...place, '--overwrite-target', link]);
    assert.equal(ended.status, 4, ended.stdout);
    assert.match(ended.stderr, message);
    assert.equal(await sha256sum(other.path), before);
  }
});

test('a target in the state folder is refused, whatever the folder is called', async () => {
  await using folder = await tempDir();
  const state = join(folder.path, 'state');
  await mkdir(join(state, 'deeper'), { recursive: true, mode: 0o700 });
  await symlink(state, join(folder.path, 'link'));
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', state, '--overwrite-target'];
  for (const name of ['state/disk.img', 'state/signing-key', 'state/deeper/disk.img', 'link/disk.img']) {
    const ended = await runReceiver([...place, join(folder.path, name)]);
    assert.equal(ended.status, 4, ended.stdout);
    assert.match(ended.stderr, /error: cannot write to \S+: it is in the state folder \S+\/state$/m);
  }
});

test('a state folder on the target disk is refused: the disk is mounted', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using view = await mounted(device.path);
  const place = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(view.path, 'state')];
  for (const target of [device.path, device.backingFile]) {
    const ended = await runReceiver([...place, '--overwrite-target', target]);
    assert.equal(ended.status, 4, ended.stdout);
    assert.match(ended.stderr, /it is in use: (mounted on|attached to)/);
  }
});

test('both sides name a target by its by-id link', needsLoop, async (context) => {
  await using folder = await tempDir();
  await using device = await loopDevice(MIB);
  const byId = `/dev/disk/by-id/ddt-test-${process.pid}`;
  await mkdir('/dev/disk/by-id', { recursive: true });
  await symlink(device.path, byId);
  context.after(async () => {
    await unlink(byId);
    await runOk('rmdir', ['--ignore-fail-on-non-empty', '--parents', '/dev/disk/by-id']);
  });
  await using receiver = await startReceiver({ folder: folder.path, target: device.path });
  assert.match(
    receiver.process.stdout,
    new RegExp(`^target   ${device.path} \\(${byId}\\): loop device`, 'm'),
  );
  assert.equal((await receiver.status()).target.byId, byId);
  const source = join(folder.path, 'source');
  await writeFile(source, 'x');
  const { stderr } = await runSender(['--ticket-file', receiver.ticketFile, source]);
  assert.match(
    stderr,
    new RegExp(`^target   ${device.path} \\(${byId}\\) at \\S+: loop device .*, empty`, 'm'),
  );
});
