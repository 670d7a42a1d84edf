/** The folder with the receiver's secrets, and the signing key in it. */
import assert from 'node:assert/strict';
import { chmod, chown, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { loadOrMakeIdentity, loadOrMakeSigningKey } from '../../../receiver/identity/certificate.ts';
import { prepareStateDir } from '../../../receiver/identity/state-dir.ts';
import { unlessRoot } from '../../support/requires.ts';
import { run } from '../../support/run.ts';
import { skipUnlessStrace } from '../../support/strace.ts';
import { tempDir } from '../../support/temp-dir.ts';

const needsStrace = { skip: skipUnlessStrace };

async function assertRefused(promise: Promise<unknown>, message: RegExp, hint: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof TransferError, String(error));
    assert.equal(error.code, 'state-refused');
    assert.match(error.message, message);
    assert.match(error.hint ?? '', hint);
    return true;
  });
}

test('the signing key is created once, readable only by its owner', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'signing-key');
  const key = await loadOrMakeSigningKey(folder.path);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await loadOrMakeSigningKey(folder.path), key);
  assert.equal(await readFile(path, 'utf8'), `${key.secretKey.subarray(0, 32).toString('base64')}\n`);
});

test('receivers that start at the same time in a new folder have one signing key', async () => {
  await using folder = await tempDir();
  const keys = await Promise.all(Array.from({ length: 6 }, async () => loadOrMakeSigningKey(folder.path)));
  assert.equal(new Set(keys.map(({ publicKey }) => publicKey.toString('hex'))).size, 1);
});

test('a damaged signing key is refused, and never shown or replaced', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'signing-key');
  const seed = Buffer.alloc(32, 9).toString('base64');
  for (const text of ['', '\n', seed.slice(0, -4), `${seed}A`, `${seed}\n${seed}`, `-${seed.slice(1)}`]) {
    await writeFile(path, text, { mode: 0o600 });
    const message = new RegExp(`^cannot use the signing key ${path}: it is damaged$`);
    await assertRefused(loadOrMakeSigningKey(folder.path), message, /: rm .*signing-key$/);
    assert.equal(await readFile(path, 'utf8'), text);
  }
});

test('a state folder is created with its parents for its owner only, and prepared again', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'var', 'lib', 'dd-transfer');
  await prepareStateDir(path);
  await prepareStateDir(`${path}/`);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
  await chmod(path, 0o755);
  await prepareStateDir(path);
});

test('a state folder that others could replace or write to is refused', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'state');
  const link = join(folder.path, 'link');
  await prepareStateDir(path);
  await symlink(path, link);
  const another = /--state-dir$/;
  for (const each of [link, `${link}/`]) {
    await assertRefused(prepareStateDir(each), /link: it is a symbolic link$/, another);
  }
  await symlink(join(folder.path, 'nowhere'), join(folder.path, 'dangling'));
  const dangling = prepareStateDir(join(folder.path, 'dangling'));
  await assertRefused(dangling, /dangling: it is a symbolic link$/, another);
  for (const mode of [0o770, 0o702, 0o1777]) {
    await chmod(path, mode);
    await assertRefused(prepareStateDir(path), /others may write to it$/, /^chmod go-w .*state$/);
  }
  await writeFile(join(folder.path, 'file'), '');
  const file = prepareStateDir(join(folder.path, 'file'));
  await assertRefused(file, /file: it is not a folder$/, another);
  const below = prepareStateDir(join(folder.path, 'file', 'below'));
  await assertRefused(below, /a part of the path is not a directory$/, another);
});

test('a state folder of someone else is refused', { skip: unlessRoot }, async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'state');
  await prepareStateDir(path);
  await chown(path, 12345, 0);
  await assertRefused(prepareStateDir(path), /it belongs to user 12345, and this is user 0$/, /--state-dir$/);
});

/** Starts like a receiver and is killed at its nth system call of this name. @returns whether it was. */
async function startAndKill(stateDir: string, call: string, nth: number): Promise<boolean> {
  const script = `
    const [folder, stateDir] = process.argv.slice(1);
    const { loadOrMakeIdentity, loadOrMakeSigningKey } = await import(folder + 'certificate.ts');
    const { prepareStateDir } = await import(folder + 'state-dir.ts');
    await prepareStateDir(stateDir);
    await loadOrMakeIdentity(stateDir);
    await loadOrMakeSigningKey(stateDir);`;
  const module = new URL('../../../receiver/identity/', import.meta.url).href;
  const strace = ['-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`];
  strace.push('-e', `inject=${call}:signal=KILL:when=${nth}`, process.execPath, '--input-type=module');
  // strace counts the calls of each thread.
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' };
  const ended = await run('strace', [...strace, '-e', script, module, stateDir], { env });
  assert.ok(ended.signal === 'SIGKILL' || ended.status === 0, ended.stderr);
  return ended.signal === 'SIGKILL';
}

test(
  'a first start that is killed at any moment leaves a folder that the next start can use',
  needsStrace,
  async () => {
    await using folder = await tempDir();
    // One fsync for each of the two new folders, two for each of the three files; an unlink for each secret.
    const moments = [...Array.from({ length: 8 }, (_, at) => `fsync ${at + 1}`), 'unlink 1', 'unlink 2'];
    const starts = [...moments, 'fsync 9', 'unlink 3'].map(async (moment) => {
      const [call = '', nth] = moment.split(' ');
      const stateDir = join(folder.path, moment, 'dd-transfer');
      return (await startAndKill(stateDir, call, Number(nth))) ? stateDir : undefined;
    });
    const stateDirs = (await Promise.all(starts)).filter((stateDir) => stateDir !== undefined);
    assert.equal(stateDirs.length, moments.length);
    for (const stateDir of stateDirs) {
      await prepareStateDir(stateDir);
      const { pin } = await loadOrMakeIdentity(stateDir);
      assert.equal((await loadOrMakeIdentity(stateDir)).pin, pin);
      await loadOrMakeSigningKey(stateDir);
    }
  },
);
