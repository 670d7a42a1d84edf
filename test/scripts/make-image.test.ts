/** `scripts/make-image`, judged by sfdisk, e2fsck and debugfs. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, symlink, watch, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SCRIPTS } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { run, start, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const MAKE_IMAGE = join(SCRIPTS, 'make-image');
const ENV = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, LC_ALL: 'C' };
const OFFSET = '?offset=1048576';

const skip = unlessInstalled('mkfs.ext4', 'debugfs');

async function runTool(command: string, ...args: string[]): Promise<Ended> {
  return await run(command, args, { env: ENV });
}

test(
  'an image has a GPT with one partition that holds a clean ext4 file system',
  { skip: skip || unlessInstalled('sfdisk') },
  async () => {
    await using folder = await tempDir();
    const image = join(folder.path, 'disk.img');
    const made = await runTool(MAKE_IMAGE, image, '64MiB');
    assert.equal(made.stderr, '');
    assert.match(
      made.stdout,
      /^\S+disk\.img: disk image of 64 MiB, GPT, partition 1 is ext4 with \d+ files .*\n$/,
    );
    assert.equal((await stat(image)).size, 64 * 2 ** 20);
    assert.deepEqual(await readdir(folder.path), ['disk.img']);

    const table = await runTool('sfdisk', '-l', image);
    assert.match(table.stdout, /Disklabel type: gpt/);
    assert.match(table.stdout, /disk\.img1 +2048 +129023 +126976 +62M Linux filesystem/);
    assert.equal((await runTool('sfdisk', '--verify', image)).status, 0);
    const check = await runTool('e2fsck', '-fn', `${image}${OFFSET}`);
    assert.equal(check.status, 0, check.stdout);
  },
);

test('an image is about half full, with real files among free space', { skip }, async () => {
  await using folder = await tempDir();
  const image = join(folder.path, 'disk.img');
  await runTool(MAKE_IMAGE, image, '128MiB');
  const fullness = (512 * (await stat(image)).blocks) / (128 * 2 ** 20);
  assert.ok(fullness > 0.4 && fullness < 0.6, `${fullness} of the disk is in use`);

  const listing = await runTool('debugfs', '-R', 'ls -p f0', `${image}${OFFSET}`);
  const names = listing.stdout.split('\n').flatMap((line) => /\/(\d{6}-[^/]+)\//.exec(line)?.[1] ?? []);
  assert.ok(names.length > 10, listing.stdout);
  const text = join(folder.path, 'text');
  await runTool('debugfs', '-R', `dump f0/${names[0]} ${text}`, `${image}${OFFSET}`);
  assert.ok((await readFile(text)).length > 0);
  const root = await runTool('debugfs', '-R', 'ls -p /', `${image}${OFFSET}`);
  assert.doesNotMatch(root.stdout, /gap/);
});

test('two images of the same size are equal', { skip }, async () => {
  await using folder = await tempDir();
  const images = [join(folder.path, 'one.img'), join(folder.path, 'two.img')];
  for (const image of images) assert.equal((await runTool(MAKE_IMAGE, image, '16MiB')).status, 0);
  assert.equal((await runTool('cmp', ...images)).status, 0);
});

test(
  'the files of a folder are used instead, each once; a folder without files is refused',
  { skip },
  async () => {
    await using folder = await tempDir();
    const own = join(folder.path, 'own', 'deeper');
    await mkdir(own, { recursive: true });
    await writeFile(join(own, 'one'), 'the first');
    await writeFile(join(folder.path, 'own', 'two'), 'the second');
    const image = join(folder.path, 'disk.img');
    const made = await runTool(MAKE_IMAGE, image, '16MiB', join(folder.path, 'own'));
    assert.match(made.stdout, /partition 1 is ext4 with 2 files with 19 bytes$/m);
    const listing = await runTool('debugfs', '-R', 'ls -p f0', `${image}${OFFSET}`);
    const names = listing.stdout.split('\n').flatMap((line) => /\/(\d{6}-[^/]+)\//.exec(line)?.[1] ?? []);
    const found = await Promise.all(
      names.map(
        async (name) => (await runTool('debugfs', '-R', `cat f0/${name}`, `${image}${OFFSET}`)).stdout,
      ),
    );
    assert.deepEqual(found.sort(), ['the first', 'the second']);

    const other = join(folder.path, 'other.img');
    const refused = await runTool(MAKE_IMAGE, other, '16MiB', join(folder.path, 'none'));
    assert.deepEqual([refused.status, existsSync(other)], [2, false]);
    assert.match(refused.stderr, /^make-image: error: cannot read any file below \/.+\/none\n$/);
  },
);

test('an existing file is refused and left alone', { skip }, async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'precious');
  await writeFile(file, 'precious');
  const { status, stdout, stderr } = await runTool(MAKE_IMAGE, file);
  assert.deepEqual({ status, stdout }, { status: 4, stdout: '' });
  assert.equal(stderr, `make-image: error: cannot make ${file}: it already exists\n`);
  assert.equal(await readFile(file, 'utf8'), 'precious');
});

test('a symbolic link is refused, even a dangling one', { skip }, async () => {
  await using folder = await tempDir();
  const link = join(folder.path, 'link');
  await symlink(join(folder.path, 'elsewhere'), link);
  const { status, stderr } = await runTool(MAKE_IMAGE, link);
  assert.equal(status, 4);
  assert.match(stderr, /it already exists/);
  assert.deepEqual(await readdir(folder.path), ['link']);
});

test('nothing is made under /dev, not even through a symbolic link to it', { skip }, async () => {
  await using folder = await tempDir();
  await symlink('/dev', join(folder.path, 'devices'));
  for (const file of ['/dev/ddt-image', '/dev/shm/ddt-image', join(folder.path, 'devices', 'ddt-image')]) {
    const { status, stderr } = await runTool(MAKE_IMAGE, file);
    assert.equal(status, 4);
    assert.match(stderr, /images are files, and \/dev is for devices/);
    assert.equal(existsSync(file), false);
  }
});

test('an impossible size is a usage error', { skip }, async () => {
  await using folder = await tempDir();
  for (const size of ['1MiB', '16777217', 'large', '-1']) {
    const { status, stderr } = await runTool(MAKE_IMAGE, join(folder.path, 'disk.img'), size);
    assert.equal(status, 2, stderr);
    assert.match(stderr, /^make-image: error: [^\n]+\n(?:make-image: hint: [^\n]+\n)?$/);
  }
  assert.deepEqual(await readdir(folder.path), []);
});

test('no arguments print the usage on standard error, --help on standard output', async () => {
  const bare = await runTool(MAKE_IMAGE);
  assert.deepEqual([bare.status, bare.stdout], [2, '']);
  const help = await runTool(MAKE_IMAGE, '--help');
  assert.deepEqual([help.status, help.stderr], [0, '']);
  assert.match(help.stdout, /^usage: scripts\/make-image <file> \[size\] \[folder\]\n/);
  assert.equal(help.stdout, bare.stderr);
});

test('a missing tool is reported with its Debian package', { skip: skip || unlessRoot }, async () => {
  await using folder = await tempDir();
  const image = join(folder.path, 'disk.img');
  const hide = 'mount -t tmpfs none /usr/sbin && exec "$0" "$1"';
  const apart = ['--mount', '--propagation', 'slave'];
  const { status, stderr } = await runTool('unshare', ...apart, 'sh', '-c', hide, MAKE_IMAGE, image);
  assert.equal(status, 2, stderr);
  assert.equal(
    stderr,
    'make-image: error: cannot find mkfs.ext4, which is in the Debian package e2fsprogs\n' +
      'make-image: hint: apt-get install e2fsprogs\n',
  );
  assert.deepEqual(await readdir(folder.path), []);
});

test('an interrupted run leaves nothing behind', { skip }, async () => {
  await using folder = await tempDir();
  const changes = watch(folder.path);
  await using child = await start(MAKE_IMAGE, [join(folder.path, 'disk.img'), '2GiB']);
  for await (const { filename } of changes) {
    if (filename?.includes('.content-') === true) break;
  }
  child.kill('SIGINT');
  assert.equal((await child.ended).status, 130);
  assert.deepEqual(await readdir(folder.path), []);
});
