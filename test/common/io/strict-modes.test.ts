import assert from 'node:assert/strict';
import { chmod, chown, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { weakFolderAbove, weakMode, weakOwner, weakSecret } from '../../../common/io/strict-modes.ts';
import { unlessRoot } from '../../support/requires.ts';
import { tempDir } from '../../support/temp-dir.ts';

const USER = process.geteuid?.() ?? 0;
const OTHER_USER = 12_345;

test('a secret is for its owner alone', () => {
  for (const mode of [0o600, 0o400, 0o100700, 0o100600]) {
    assert.equal(weakSecret('/key', { uid: USER, mode }), undefined);
  }
  for (const [mode, what] of [
    [0o644, 'read it'],
    [0o640, 'read it'],
    [0o604, 'read it'],
    [0o620, 'write to it'],
    [0o602, 'write to it'],
  ] as const) {
    const reason = `others may ${what} (mode ${mode.toString(8)})`;
    assert.deepEqual(weakSecret('/key', { uid: USER, mode }), { reason, hint: 'chmod 600 /key' });
  }
});

test("a service may read root's key by its group, and no more", { skip: unlessRoot }, () => {
  process.seteuid?.(OTHER_USER);
  try {
    assert.equal(weakSecret('/key', { uid: 0, mode: 0o640 }), undefined);
    for (const mode of [0o644, 0o660]) assert.notEqual(weakSecret('/key', { uid: 0, mode }), undefined);
    assert.notEqual(weakSecret('/key', { uid: OTHER_USER, mode: 0o640 }), undefined);
    assert.equal(weakOwner('/key', { uid: 0 }), undefined);
    assert.equal(weakOwner('/key', { uid: OTHER_USER }), undefined);
  } finally {
    process.seteuid?.(0);
  }
});

test('a file of neither this user nor root, or that others may write to, is weak', () => {
  assert.equal(weakOwner('/key', { uid: USER }), undefined);
  const reason = `it belongs to user ${USER + 7}, and this is user ${USER}`;
  assert.deepEqual(weakOwner('/key', { uid: USER + 7 }), { reason, hint: `chown ${USER} /key` });
  assert.equal(weakMode('/x', { mode: 0o755 }), undefined);
  for (const mode of [0o775, 0o757]) {
    assert.deepEqual(weakMode('/x', { mode }), { reason: 'others may write to it', hint: 'chmod go-w /x' });
  }
});

test('the first weak folder above is named, through links, and sticky ones are not weak', async () => {
  await using folder = await tempDir();
  const [upper, lower, link] = ['upper', 'upper/lower', 'link'].map((name) => join(folder.path, name));
  assert(upper !== undefined && lower !== undefined && link !== undefined);
  await mkdir(lower, { recursive: true });
  await symlink(lower, link);
  for (const path of [lower, link, join(lower, 'absent', 'too')]) {
    for (const mode of [0o755, 0o1777, 0o1775]) {
      await chmod(upper, mode);
      assert.equal(await weakFolderAbove(path), undefined);
    }
    for (const mode of [0o777, 0o775, 0o757]) {
      await chmod(upper, mode);
      const reason: string = `its folder ${upper} is not safe: others may write to it`;
      assert.deepEqual(await weakFolderAbove(path), { reason, hint: `chmod go-w ${upper}` });
    }
  }
});

test(
  'a sticky folder of another user is weak: its owner may replace anything',
  { skip: unlessRoot },
  async () => {
    await using folder = await tempDir();
    await chmod(folder.path, 0o1777);
    await chown(folder.path, OTHER_USER, 0);
    const owner = `it belongs to user ${OTHER_USER}, and this is user 0`;
    const reason = `its folder ${folder.path} is not safe: ${owner}`;
    assert.deepEqual(await weakFolderAbove(folder.path), { reason, hint: `chown 0 ${folder.path}` });
  },
);
