import assert from 'node:assert/strict';
import { test } from 'node:test';
import { identityDifference, likenessOf } from '../../../receiver/target/target-identity.ts';
import { diskIdentity } from '../../support/disk-identity.ts';

const DISK = { ...diskIdentity('device', '/dev/sdb', 4096), model: 'M', serial: 'A1', bootTimeId: 'boot 7' };
const FILE = { ...diskIdentity('file', '/a/disk.img'), fileId: '1:2', createdAt: '2027-01-15T08:00:00.5Z' };

test('two identities are the same unless something known of them differs', () => {
  const renamed = { path: '/dev/sdc', description: 'x', model: null, bootTimeId: 'boot 8' };
  assert.equal(identityDifference(DISK, { ...DISK, ...renamed }), undefined);
  for (const [change, difference] of [
    [{ kind: 'file' }, 'its kind was device when the transfer began and is file now'],
    [{ sizeBytes: 8192 }, 'its size in bytes was 4096 when the transfer began and is 8192 now'],
    [{ serial: 'B2' }, 'its serial number was A1 when the transfer began and is B2 now'],
    [{ serial: null }, 'its serial number was A1 when the transfer began and is unknown now'],
    [{ wwn: 'eui.1' }, 'its world-wide name was unknown when the transfer began and is eui.1 now'],
    [{ fileId: '1:2' }, 'its file (device:inode) was unknown when the transfer began and is 1:2 now'],
  ] as const) {
    assert.equal(identityDifference(DISK, { ...DISK, ...change }), difference);
  }
});

test('a file keeps its identity when its file system gets another device number', () => {
  assert.equal(identityDifference(FILE, { ...FILE, fileId: '9:2' }), undefined);
  assert.match(identityDifference(FILE, { ...FILE, fileId: '1:3' }) ?? '', /^its inode was 2 when /);
});

test('a new file with the inode number of a deleted one is another file', () => {
  const again = { ...FILE, createdAt: '2027-01-16T09:00:00.5Z' };
  const sentence = /^its creation time was 2027-01-15T08:00:00\.5Z .* and is 2027-01-16T09:00:00\.5Z now$/;
  assert.match(identityDifference(FILE, again) ?? '', sentence);
});

test('without a time of creation the device and inode numbers of a file count', () => {
  for (const createdAt of [null, undefined]) {
    const { createdAt: _, ...unknown } = FILE;
    const recorded = createdAt === undefined ? unknown : { ...FILE, createdAt };
    assert.equal(identityDifference(recorded, FILE), undefined);
    assert.equal(identityDifference(FILE, recorded), undefined);
    assert.match(
      identityDifference(recorded, { ...FILE, fileId: '9:2' }) ?? '',
      /^its file \(device:inode\) /,
    );
  }
});

test('how sure it is that a target with another name is the recorded one', () => {
  const other = { ...DISK, path: '/dev/sdc' };
  for (const [recorded, present, likeness] of [
    [DISK, other, 'same'],
    [DISK, { ...other, bootTimeId: 'later 3' }, 'alike'],
    [DISK, { ...other, bootTimeId: 'later 3', model: 'N' }, 'different'],
    [DISK, { ...other, serial: 'B2' }, 'different'],
    [{ ...DISK, serial: null }, { ...other, serial: null, bootTimeId: 'later 3' }, 'different'],
    [{ ...DISK, serial: null, wwn: 'w' }, { ...other, serial: null, wwn: 'w', bootTimeId: null }, 'alike'],
    [diskIdentity('device', '/dev/loop1', 4096), diskIdentity('device', '/dev/loop2', 4096), 'different'],
    [FILE, { ...FILE, path: '/b/disk.img' }, 'same'],
    // A snapshot of its file system, mounted elsewhere.
    [FILE, { ...FILE, path: '/b/disk.img', fileId: '9:2' }, 'different'],
    [FILE, { ...FILE, path: '/b/disk.img', createdAt: null }, 'different'],
  ] as const) {
    assert.equal(likenessOf(recorded, present, false), likeness, JSON.stringify(present));
  }
});

test('a recorded path that leads to the present target decides, unless something differs', () => {
  const [recorded, present] = [
    diskIdentity('device', '/dev/vdd', 4096),
    diskIdentity('device', '/dev/x', 4096),
  ];
  assert.equal(likenessOf(recorded, present, true), 'same');
  assert.equal(likenessOf(recorded, { ...present, sizeBytes: 8192 }, true), 'different');
});
