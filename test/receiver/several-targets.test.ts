/** What several targets are refused for, and the rights of the process that has them. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { link, readFile, readdir, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertOnMedium } from '../support/copied.ts';
import { loopDevice, partition, skipUnlessLoop, skipUnlessPartitions } from '../support/loop-device.ts';
import { MIB, OWN_HOST, runReceiver, sendAll, startReceiver, type Receiver } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

function refuse(folder: string, ...words: readonly string[]): ReturnType<typeof runReceiver> {
  return runReceiver(['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder, 'state'), ...words]);
}

/** The folder of a target's journal. */
function journalFolder({ stateDir }: Receiver, target: string): string {
  return join(stateDir, hash('sha256', target).slice(0, 16));
}

test('a file is refused twice, by any of its names, and nothing is left', async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'file');
  await writeFile(file, '');
  await truncate(file, MIB);
  await symlink(file, join(folder.path, 'alias'));
  await link(file, join(folder.path, 'other-name'));
  await symlink(folder.path, join(folder.path, 'here'));
  for (const [one, two] of [
    [file, file],
    [file, join(folder.path, 'alias')],
    [join(folder.path, 'other-name'), file],
    [join(folder.path, 'new'), join(folder.path, 'here/new')],
  ] as const) {
    const ended = await refuse(folder.path, one, two);
    assert.deepEqual([ended.status, ended.stdout], [4, '']);
    assert.equal(
      ended.stderr.split('\n')[0],
      `ddt-receive: error: cannot write to both ${one} and ${two}: they are the same disk`,
    );
  }
  const journals = (await readdir(join(folder.path, 'state'))).filter((name) => /^\w{16}$/.test(name));
  assert.deepEqual(journals, []);
});

test(
  'a disk is refused beside its partition, and beside the file that it is made of',
  { skip: skipUnlessPartitions },
  async () => {
    await using folder = await tempDir();
    await using device = await loopDevice(32 * MIB);
    const [part, rest] = await partition(device.path, 'dos');
    for (const [one, two, why] of [
      [device.path, part, 'the second is part of the first'],
      [rest, device.path, 'the first is part of the second'],
      [device.path, device.backingFile, 'they are the same disk'],
      [part, device.backingFile, 'the first is part of the second'],
    ] as const) {
      const { status, stderr } = await refuse(folder.path, '--overwrite-target', one, two);
      assert.equal(status, 4, stderr);
      assert.equal(
        stderr.split('\n')[0],
        `ddt-receive: error: cannot write to both ${one} and ${two}: ${why}`,
      );
    }
    await using both = await startReceiver({ folder: folder.path, target: part, more: [rest] });
    assert.equal(both.tickets.length, 2);
  },
);

test('one target that is refused refuses all, before the port opens', async () => {
  await using folder = await tempDir();
  const ended = await refuse(folder.path, join(folder.path, 'good'), folder.path);
  assert.equal(ended.status, 4);
  assert.match(ended.stderr, /^ddt-receive: error: cannot use \S+: it is a directory/);
  assert.deepEqual((await readdir(folder.path)).sort(), ['state'], 'the file that was made is gone');
  const journals = (await readdir(join(folder.path, 'state'))).filter((name) => /^\w{16}$/.test(name));
  assert.deepEqual(journals, []);
  await using once = await startReceiver({ folder: folder.path, target: join(folder.path, 'good') });
  const { ticket } = once;
  await once.end('SIGTERM');
  const again = await refuse(folder.path, join(folder.path, 'good'), folder.path);
  assert.equal(again.status, 4);
  await once.start();
  assert.equal(once.ticket, ticket, 'what was there before is there still');
});

test("with root's rights given up, holes are punched in all of them", { skip: skipUnlessLoop }, async () => {
  await using folder = await tempDir();
  const disks = [
    await loopDevice(16 * MIB, { directIo: true }),
    await loopDevice(24 * MIB, { directIo: true }),
  ];
  await using stack = new AsyncDisposableStack();
  for (const disk of disks) stack.use(disk);
  for (const { path } of disks) await writeFile(path, Buffer.alloc(8 * MIB, 0xa5));
  const [one, two] = disks.map(({ path }) => path);
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({
    folder: folder.path,
    target: one ?? '',
    more: [two ?? ''],
    options,
  });
  const status = await readFile(`/proc/${receiver.process.pid}/status`, 'utf8');
  const [user] = /^Uid:\t(\d+)/m.exec(status)?.slice(1) ?? [];
  assert.match(user ?? '', /^6[1-5]\d{3}$/);
  assert.match(status, /^CapEff:\t0+$/m);
  const folders = await Promise.all(disks.map(async ({ path }) => await stat(journalFolder(receiver, path))));
  assert.deepEqual(
    folders.map(({ gid }) => String(gid)),
    [user, user],
  );
  for (const [at, { path, backingFile }] of disks.entries()) {
    const source = join(folder.path, `zeros-${at}`);
    await writeFile(source, '');
    await truncate(source, (16 + 8 * at) * MIB);
    await sendAll('--block-size', '1MiB', source, receiver.tickets[at] ?? '');
    await assertOnMedium(source, path);
    assert((await stat(backingFile)).blocks * 512 < 4 * MIB, 'its zeros take no room');
  }
  const ended = await receiver.end('SIGTERM');
  assert.doesNotMatch(ended.stderr, /warning/);
  await using alone = await startReceiver({ folder: folder.path, target: one ?? '' });
  const { gid } = await stat(journalFolder(alone, one ?? ''));
  assert.notEqual(String(gid), user, 'a process for one of them has no right to the folder of the other');
});

test('too little memory for so many targets is said before anything is opened', async () => {
  await using folder = await tempDir();
  const targets = Array.from({ length: 9 }, (_, at) => join(folder.path, `disk-${at}`));
  const { status, stderr } = await refuse(folder.path, ...targets);
  assert.deepEqual(
    [status, stderr],
    [2, 'ddt-receive: error: --memory 256MiB is too little for 9 targets: at least 288 MiB\n'],
  );
});
