/** What the server may still do once it listens: real processes that root has started. */
import assert from 'node:assert/strict';
import { lchown, link, lstat, readFile, readdir, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { MIB, assertEqualFiles, runReceiver, sendAll, startReceiver } from '../support/processes.ts';
import { prng } from '../support/prng.ts';
import { unlessRoot } from '../support/requires.ts';
import { run } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const SIZE = 24 * MIB;
const OPTIONS = ['--block-size', '1MiB'];

/** Half of it random bytes, then zeros. */
async function writeSource(path: string): Promise<void> {
  await writeFile(path, Buffer.concat([prng(5).bytes(SIZE / 2), Buffer.alloc(SIZE / 2)]));
}

/** Fields of proc_pid_status(5). */
async function statusOf(pid: number): Promise<Map<string, string>> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return new Map(
    Array.from(text.matchAll(/^(\w+):[ \t]*(.*?)[ \t]*$/gm), ([, name = '', value = '']) => [name, value]),
  );
}

/** Paths of what a process has open, without sockets, pipes and the like. */
async function openFilesOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const links = await Promise.all(
    (await readdir(folder)).map(async (fd) => await readlink(join(folder, fd))),
  );
  return [...new Set(links.filter((path) => path.startsWith('/') && path !== '/dev/null'))].sort();
}

test('root starts it, and it listens without the rights of root', { skip: skipUnlessLoop }, async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeSource(source);
  await using device = await loopDevice(SIZE, { directIo: true });
  await writeFile(device.path, Buffer.alloc(SIZE, 0xa5));
  const options = ['--overwrite-target', '--yes'];
  await using receiver = await startReceiver({ folder: folder.path, target: device.path, options });
  const { pid, stderr } = receiver.process;
  assert.doesNotMatch(stderr, /rights of root/);
  const status = await statusOf(pid);
  const [user = '', ...others] = new Set([
    ...(status.get('Uid') ?? '').split('\t'),
    ...(status.get('Gid') ?? '').split('\t'),
  ]);
  assert.deepEqual(others, [], 'real, effective, saved, file system');
  assert.match(user, /^6[1-5]\d{3}$/);
  assert.equal(status.get('Groups'), '');
  for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
    assert.match(status.get(name) ?? '', /^0+$/, name);
  assert.equal(status.get('NoNewPrivs'), '1');
  // As long as it is root's, no process of that user may trace it (proc(5), ptrace(2)).
  assert.equal((await stat(`/proc/${pid}/mem`)).uid, 0);

  const journal = (await readdir(receiver.stateDir)).find((name) => /^[0-9a-f]{16}$/.test(name)) ?? '';
  const journalFolder = join(receiver.stateDir, journal);
  const files = [
    device.path,
    journalFolder,
    join(journalFolder, 'journal.db'),
    join(journalFolder, 'journal.db-wal'),
  ];
  assert.deepEqual(await openFilesOf(pid), files.sort());

  await sendAll(...OPTIONS, '--ticket-file', receiver.ticketFile, source);
  await assertEqualFiles(source, device.path);
  const { blocks } = await stat(device.backingFile);
  assert(blocks * 512 < 0.75 * SIZE, 'the holes were punched by a program that still has the right to');
  const ended = await receiver.end('SIGTERM');
  assert.equal(ended.status, 0, ended.stderr);
  assert.doesNotMatch(ended.stderr, /warning/);
  const receipt = await stat(join(journalFolder, 'receipt-1.json'));
  assert.equal(String(receipt.uid), user);
  // The journal stays root's, and can't be replaced by that user.
  for (const path of [join(journalFolder, 'journal.db'), journalFolder, dirname(journalFolder)]) {
    assert.equal((await stat(path)).uid, 0, path);
  }
  assert.equal((await stat(journalFolder)).mode & 0o7777, 0o1770);
});

test(
  'what one process has left is resumed, updated and listed by the next',
  { skip: skipUnlessLoop },
  async () => {
    await using folder = await tempDir();
    const source = join(folder.path, 'source');
    await writeSource(source);
    await using device = await loopDevice(SIZE, { directIo: true });
    await using receiver = await startReceiver({ folder: folder.path, target: device.path });
    await sendAll(...OPTIONS, '--ticket-file', receiver.ticketFile, source);
    await receiver.end('SIGKILL');
    await writeFile(source, prng(6).bytes(2 * MIB), { flag: 'r+' });
    await receiver.start({ options: ['--update'] });
    const done = await sendAll(...OPTIONS, '--ticket-file', receiver.ticketFile, source);
    assert.equal(done.blocksSent, 2);
    await assertEqualFiles(source, device.path);
    const ended = await receiver.end('SIGTERM');
    assert.doesNotMatch(ended.stderr, /warning/);
    const list = await runReceiver(['--list', '--state-dir', receiver.stateDir]);
    assert.match(list.stdout, /sealed: all 24 blocks/);
  },
);

test('where the kernel refuses, it says so and goes on', { skip: unlessRoot }, async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeSource(source);
  // Only one user id exists there.
  const under = ['unshare', '--map-root-user'];
  const probe = await run('true', [], { under });
  assert.equal(probe.status, 0, probe.stderr);
  await using receiver = await startReceiver({ folder: folder.path, target, under });
  assert.match(receiver.process.stderr, /warning: keeps all rights of root: /);
  await sendAll(...OPTIONS, '--ticket-file', receiver.ticketFile, source);
  await assertEqualFiles(source, target);
});

test('links in the folder lead nobody to a file of root', { skip: skipUnlessLoop }, async () => {
  await using folder = await tempDir();
  const [source, secret] = [join(folder.path, 'source'), join(folder.path, 'secret')];
  await writeSource(source);
  await writeFile(secret, 'secret', { mode: 0o600 });
  await using device = await loopDevice(SIZE, { directIo: true });
  await using receiver = await startReceiver({ folder: folder.path, target: device.path });
  await receiver.end('SIGTERM');
  const journal = join(
    receiver.stateDir,
    (await readdir(receiver.stateDir)).find((name) => /^\w{16}$/.test(name)) ?? '',
  );
  // As the user that an earlier server has become could leave them there.
  const { gid } = await stat(journal);
  await symlink(secret, join(journal, 'receipt-1.json'));
  await lchown(join(journal, 'receipt-1.json'), gid, gid);
  await link(secret, join(journal, 'receipt-2.json'));
  await receiver.start();
  await sendAll(...OPTIONS, '--ticket-file', receiver.ticketFile, source);
  await receiver.end('SIGTERM');
  const { uid, mode } = await stat(secret);
  assert.deepEqual([uid, mode & 0o777, await readFile(secret, 'utf8')], [0, 0o600, 'secret']);
  assert((await lstat(join(journal, 'receipt-1.json'))).isFile(), 'replaced, not followed');
});
