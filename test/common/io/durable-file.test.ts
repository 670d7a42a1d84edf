import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFileDurably, makeFolderDurably, writeFileDurably } from '../../../common/io/durable-file.ts';
import { tempDir } from '../../support/temp-dir.ts';

test('writing creates or replaces the file, with its mode, and leaves nothing else behind', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'ticket');
  for (const [text, mode] of [
    ['first, and longer', 0o600],
    ['second', 0o644],
  ] as const) {
    await writeFileDurably(path, text, mode);
    assert.equal(await readFile(path, 'utf8'), text);
    assert.equal((await stat(path)).mode & 0o777, mode);
  }
  assert.deepEqual(await readdir(folder.path), ['ticket']);
});

test('a failed write leaves the old content and no temporary file', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'full');
  await makeFolderDurably(path, 0o700);
  await writeFile(join(path, 'inhabitant'), '');
  await assert.rejects(writeFileDurably(path, 'text', 0o600), { code: 'EISDIR' });
  await assert.rejects(writeFileDurably(join(folder.path, 'no', 'where'), 'text', 0o600), { code: 'ENOENT' });
  assert.deepEqual(await readdir(folder.path), ['full']);
});

test('of many concurrent creators exactly one succeeds, and its content stays', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'secret');
  const texts = Array.from({ length: 16 }, (_, index) => `secret ${index}`);
  const results = await Promise.all(texts.map(async (text) => createFileDurably(path, text, 0o600)));
  assert.equal(results.filter(Boolean).length, 1);
  assert.equal(await readFile(path, 'utf8'), texts[results.indexOf(true)]);
  assert.deepEqual(await readdir(folder.path), ['secret']);
});

test('missing parents of a folder are made as well, and an existing folder is left unchanged', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'a', 'b');
  await makeFolderDurably(path, 0o700);
  await makeFolderDurably(path, 0o755);
  for (const each of [path, join(path, '..')]) assert.equal((await stat(each)).mode & 0o777, 0o700);
});

const canTrace = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']).status === 0;

test(
  'the content is synced before the rename, and the folder after it',
  { skip: canTrace ? false : 'strace is not installed, or not allowed' },
  async () => {
    await using folder = await tempDir();
    const path = join(folder.path, 'ticket');
    const log = join(folder.path, 'log');
    const script = `
      const { createFileDurably, writeFileDurably } = await import(process.argv[1]);
      await writeFileDurably(process.argv[2], 'text', 0o600);
      await createFileDurably(process.argv[2] + '2', 'text', 0o600);`;
    const module = new URL('../../../common/io/durable-file.ts', import.meta.url).href;
    const calls = 'trace=fsync,rename,renameat,renameat2,link,linkat,unlink';
    const args = ['-f', '-y', '-qq', '-o', log, '-e', calls, process.execPath, '--input-type=module'];
    const run = spawnSync('strace', [...args, '-e', script, module, path], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    const lines = (await readFile(log, 'utf8')).split('\n').filter((line) => line.includes(folder.path));
    const order = lines.map((line) => {
      const [, name = ''] = /(\w+)\(/.exec(line) ?? [];
      return name === 'fsync' ? `fsync ${line.includes('.tmp>') ? 'file' : 'folder'}` : name.slice(0, 4);
    });
    const expected = ['fsync file', 'rena', 'fsync folder', 'fsync file', 'link', 'unli', 'fsync folder'];
    assert.deepEqual(order, expected);
  },
);
