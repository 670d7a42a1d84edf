import assert from 'node:assert/strict';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { watchKey } from '../../../common/watch/watch-key.ts';
import { tempDir } from '../../support/temp-dir.ts';

test('without a file each key is another one; with one it is made once, for its owner only', async () => {
  await using folder = await tempDir();
  assert.notEqual(await watchKey(undefined), await watchKey(undefined));
  const file = join(folder.path, 'key');
  const key = await watchKey(file);
  assert.match(key, /^[\w-]{32}$/);
  assert.equal(await readFile(file, 'utf8'), `${key}\n`);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal(await watchKey(file), key);
});

test('a file that others may read, or that holds no key, is refused', async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'key');
  await writeFile(file, `${'k'.repeat(32)}\n`, { mode: 0o600 });
  assert.equal(await watchKey(file), 'k'.repeat(32));
  await chmod(file, 0o644);
  await assert.rejects(watchKey(file), { code: 'usage', hint: `chmod 600 ${file}` });
  const short = join(folder.path, 'short');
  await writeFile(short, 'short\n', { mode: 0o600 });
  await assert.rejects(watchKey(short), { code: 'usage', message: /is not a key of 32 or more/ });
  await assert.rejects(watchKey(join(folder.path, 'none', 'key')), {
    code: 'usage',
    message: /^cannot use the key for watching in .*: no such file or directory$/i,
  });
});
