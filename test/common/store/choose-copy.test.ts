import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copiesNamed, copyName, oneCopyNamed } from '../../../common/store/choose-copy.ts';
import type { StoredCopy } from '../../../common/store/object-store.ts';
import { parseStoreName } from '../../../common/store/store-name.ts';

function copy(name: string, when: string): StoredCopy {
  return { key: `copies/${name}/${when}-x`, name, when, transferId: 'x', sizeBytes: 1 };
}

const COPIES = [
  copy('web2', '2026-11-29T03:00:00.100Z'),
  copy('web1', '2026-11-29T03:00:00.100Z'),
  copy('web1', '2026-11-28T03:00:00.100Z'),
  copy('web1', '2026-11-29T03:00:00.200Z'),
];

function named(name: string): string[] {
  return copiesNamed(COPIES, parseStoreName(`s3://disks${name}`)).map((found) => copyName('', found));
}

function one(name: string, copies = COPIES): string {
  return copyName('', oneCopyNamed(copies, parseStoreName(`s3://disks${name}`)));
}

test('a name means all its copies, by time; without a name all there are', () => {
  const [first, second, last] = ['28T03:00:00.100Z', '29T03:00:00.100Z', '29T03:00:00.200Z'];
  const ofWeb1 = [first, second, last].map((day) => `#web1@2026-11-${day}`);
  assert.deepEqual(named('#web1'), ofWeb1);
  assert.deepEqual(named(''), [...ofWeb1, `#web2@2026-11-${second}`]);
  assert.deepEqual(named('#web1@2026-11-29T03:00:00Z'), ofWeb1.slice(1));
  assert.deepEqual(named('#web1@2026-11-29T03:00:00.200Z'), ofWeb1.slice(2));
});

test('one copy is the last of its name, or the one of a time', () => {
  assert.equal(one('#web1'), '#web1@2026-11-29T03:00:00.200Z');
  assert.equal(one('#web1@2026-11-28T03:00:00Z'), '#web1@2026-11-28T03:00:00.100Z');
  assert.equal(one('', COPIES.slice(1)), '#web1@2026-11-29T03:00:00.200Z');
});

test('what means none or several is refused with what there is', () => {
  for (const [name, code, message] of [
    ['#web3', 'source-refused', 'there is no copy web3 in s3://disks: it has web1, web2'],
    [
      '#web2@2026-11-28T03:00:00Z',
      'source-refused',
      'there is no s3://disks#web2@2026-11-28T03:00:00Z: web2 has 2026-11-29T03:00:00.100Z',
    ],
    ['', 'usage', 's3://disks has copies of 2 names: web1, web2'],
    [
      '#web1@2026-11-29T03:00:00Z',
      'usage',
      's3://disks#web1@2026-11-29T03:00:00Z may be one of several: ' +
        '2026-11-29T03:00:00.100Z, 2026-11-29T03:00:00.200Z',
    ],
  ] as const) {
    assert.throws(() => one(name), { code, message });
  }
  assert.throws(() => one('', []), { message: 'there is no copy in s3://disks: it holds no copy' });
});
