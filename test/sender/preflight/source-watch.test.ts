import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiskUse } from '../../../common/disk/disk-uses.ts';
import type { DiskDescription } from '../../../common/disk/disks.ts';
import { useCaveats } from '../../../sender/preflight/source-watch.ts';

const DISK: DiskDescription = {
  kind: 'device',
  path: '/dev/sdb',
  realPath: '/dev/sdb',
  sizeBytes: 1,
  logicalSectorBytes: 512,
  model: null,
  serial: null,
  wwn: null,
  byId: null,
  fileId: null,
  majorMinor: '8:16',
  createdAt: null,
  bootTimeId: null,
  isReadOnly: false,
  description: 'a disk',
};

test('a use that can change the source comes with the command that ends it', () => {
  const cases: readonly (readonly [DiskUse, RegExp])[] = [
    [
      { kind: 'mounted', text: '/dev/sdb2: mounted on /mnt' },
      /^umount \/dev\/sdb2, or mount -o remount,ro \/dev\/sdb2, /,
    ],
    [{ kind: 'mounted', text: 'mounted on /mnt' }, /^umount \/dev\/sdb, /],
    [{ kind: 'swap', text: '/dev/sdb3: a swap area in use' }, /^swapoff \/dev\/sdb3$/],
    [
      { kind: 'attached', text: 'attached to /dev/loop4', loopDevice: '/dev/loop4' },
      /^losetup --detach \/dev\/loop4$/,
    ],
    [
      {
        kind: 'attached',
        text: 'its backing file /x is attached to /dev/loop5 too',
        loopDevice: '/dev/loop5',
      },
      /^losetup --detach \/dev\/loop5$/,
    ],
    [{ kind: 'held', text: 'held by dm-0 (vg-root)' }, /vgchange -an/],
    [{ kind: 'open', text: 'open for writing in qemu (process 7)' }, /^stop the process that uses it, /],
    [{ kind: 'claimed', text: 'claimed by the kernel' }, /^stop the process that uses it, /],
  ];
  for (const [use, hint] of cases) {
    const [caveat, ...more] = useCaveats({ disk: DISK, uses: [use] });
    assert.deepEqual(more, []);
    const what = `/dev/sdb is in use: ${use.text}; `;
    assert.equal(caveat?.warning, `${what}the copy will be inconsistent if it is written meanwhile`);
    assert.match(caveat?.hint ?? '', hint);
  }
});

test('a source that is mounted read-only needs no advice', () => {
  const readOnly: DiskUse = { kind: 'mounted-read-only', text: 'mounted read-only on /mnt' };
  assert.deepEqual(useCaveats({ disk: DISK, uses: [readOnly] }), []);
  assert.deepEqual(useCaveats({ disk: DISK, uses: [] }), []);
  const both = useCaveats({ disk: DISK, uses: [readOnly, { kind: 'swap', text: 'a swap area in use' }] });
  assert.equal(both.length, 1);
  assert.doesNotMatch(both[0]?.warning ?? '', /read-only/);
});
