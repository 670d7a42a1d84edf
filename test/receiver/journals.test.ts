/** Journals of real disks that other machines have: their identities are made up, the journals are real. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import {
  findJournalOf,
  journalPathOf,
  journalPathsIn,
  openJournal,
  refuseJournalInUse,
  removeJournal,
  type PresentTarget,
} from '../../receiver/journals.ts';
import { recordOf } from '../../receiver/transfer/target-record.ts';
import type { TargetIdentity } from '../../receiver/target/target.ts';
import { coded } from '../support/coded.ts';
import { diskIdentity } from '../support/disk-identity.ts';
import { tempDir } from '../support/temp-dir.ts';

const DISK: TargetIdentity = {
  ...diskIdentity('device', '/dev/ddt-sdb', 4096),
  model: 'WDC WD10EZEX',
  serial: 'WD-123',
  bootTimeId: 'an-earlier-boot 5',
};

/** A journal that was begun for this target. @returns its path. */
async function record(stateDir: string, identity: TargetIdentity): Promise<string> {
  const path = journalPathOf(identity.path, stateDir);
  const journal = await openJournal(path);
  journal.setProperties(recordOf(identity, []));
  journal.close();
  return path;
}

/** No other name leads to it. */
function presentAs(identity: TargetIdentity): PresentTarget {
  return { identity, isAt: async () => await Promise.resolve(false) };
}

async function find(present: TargetIdentity, stateDir: string): Promise<string | undefined> {
  const found = await findJournalOf(presentAs(present), stateDir, journalPathOf(present.path, stateDir));
  found?.journal.close();
  return found && `${found.likeness}: ${found.begunAs}`;
}

test('a disk that has another name since the reboot is found by model, serial number and size', async () => {
  await using folder = await tempDir();
  await record(folder.path, DISK);
  await record(folder.path, { ...DISK, path: '/dev/ddt-sdx', serial: 'WD-999' });
  const present = { ...DISK, path: '/dev/ddt-sdc', bootTimeId: 'this-boot 3' };
  assert.equal(await find(present, folder.path), 'alike: /dev/ddt-sdb');
  assert.equal(await find({ ...present, sizeBytes: 8192 }, folder.path), undefined);
  assert.equal(await find({ ...present, serial: null }, folder.path), undefined);
});

test('a journal that is surely of the target comes before one that may be', async () => {
  await using folder = await tempDir();
  const present = { ...DISK, path: '/dev/ddt-sdc', bootTimeId: 'this-boot 3' };
  for (const name of ['a', 'b', 'c']) await record(folder.path, { ...DISK, path: `/dev/ddt-${name}` });
  await record(folder.path, { ...present, path: '/dev/ddt-d' });
  for (const name of ['e', 'f', 'g']) await record(folder.path, { ...DISK, path: `/dev/ddt-${name}` });
  assert.equal(await find(present, folder.path), 'same: /dev/ddt-d');
});

test('a twin of the recorded disk is not taken for it while that has its old name', async () => {
  await using folder = await tempDir();
  await record(folder.path, DISK);
  const twin = { ...DISK, path: '/dev/ddt-sdc', bootTimeId: 'this-boot 3' };
  for (const [there, likeness] of [
    [{ ...DISK, bootTimeId: 'this-boot 2' }, undefined],
    // Another disk has got its name.
    [{ ...DISK, serial: 'WD-999' }, 'alike'],
    [undefined, 'alike'],
  ] as const) {
    const identityAt = async (path: string): Promise<TargetIdentity | undefined> => {
      assert.equal(path, DISK.path);
      return await Promise.resolve(there);
    };
    const found = await findJournalOf(
      presentAs(twin),
      folder.path,
      journalPathOf(twin.path, folder.path),
      identityAt,
    );
    found?.journal.close();
    assert.equal(found?.likeness, likeness);
  }
});

test('journals that are damaged, in use or of no target are passed over', async () => {
  await using folder = await tempDir();
  const present = { ...DISK, path: '/dev/ddt-sdc' };
  const damaged = await record(folder.path, { ...DISK, path: '/dev/ddt-a' });
  await writeFile(damaged, 'this is no database'.repeat(100));
  (await openJournal(journalPathOf('/dev/ddt-b', folder.path))).close();
  const nonsense = await openJournal(journalPathOf('/dev/ddt-c', folder.path));
  nonsense.setProperties({ targetIdentity: '{' });
  nonsense.close();
  using busy = await openJournalFor(folder.path, '/dev/ddt-d');
  assert(busy.path !== '');
  await mkdir(join(folder.path, 'not-a-journal'));
  assert.equal(await find(present, folder.path), undefined);
  await record(folder.path, DISK);
  assert.equal(await find(present, folder.path), 'same: /dev/ddt-sdb');
});

async function openJournalFor(stateDir: string, path: string): Promise<Disposable & { path: string }> {
  const journal = await openJournal(journalPathOf(path, stateDir));
  journal.setProperties(recordOf({ ...DISK, path }, []));
  return { path: journal.path, [Symbol.dispose]: () => journal.close() };
}

test('a journal that is read for an instant is waited for, one that stays in use is refused', async () => {
  await using folder = await tempDir();
  const path = journalPathOf('/dev/ddt-a', folder.path);
  const first = await openJournal(path);
  const timer = setTimeout(() => first.close(), 300);
  const second = await openJournal(path);
  clearTimeout(timer);
  const message = /^another ddt-receive is using the journal /;
  await assert.rejects(openJournal(path), coded('journal-in-use', { message }));
  await assert.rejects(refuseJournalInUse(path), coded('journal-in-use', { message }));
  second.close();
  await refuseJournalInUse(path);
});

test('what is removed of a journal is its files and nothing else', async () => {
  await using folder = await tempDir();
  const path = await record(folder.path, DISK);
  const other = join(dirname(path), 'notes');
  await writeFile(other, '');
  await writeFile(`${path}-wal`, '');
  await removeJournal(path);
  assert.deepEqual([existsSync(path), existsSync(`${path}-wal`), existsSync(other)], [false, false, true]);
  await removeJournal(journalPathOf('/dev/never', folder.path));
  assert.deepEqual(await journalPathsIn(folder.path), []);
});
