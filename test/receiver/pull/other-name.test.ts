import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FarHost } from '../../../common/ssh/far-host.ts';
import type { SshClient } from '../../../common/ssh/ssh-client.ts';
import { refuseOtherName } from '../../../receiver/pull/pull.ts';

test('after a reboot only a name that stays is believed', () => {
  for (const path of ['/dev/sdb', '/dev/vda', '/dev/mapper/vg-data', '/dev/nvme0n1']) {
    assert.throws(() => refuseOtherName(path, 'root@old'), {
      code: 'source-refused',
      message: `root@old was started again: ${path} may be another disk now`,
      hint: /\/dev\/disk\/by-id/,
    });
  }
  for (const path of ['/dev/disk/by-id/wwn-0x5', '/dev/disk/by-path/pci-0', '/srv/disk.img', 'disk.img']) {
    refuseOtherName(path, 'root@old');
  }
});

test('a machine that was started again is noticed at the next look', async () => {
  let boot = 'one';
  const ssh = {
    login: 'root@old',
    run: async () => ['os=Linux x86_64', 'user=root', 'root=yes', 'from=', `boot=${boot}`],
  } as unknown as SshClient;
  const options = { base: '/x', remoteProgram: 'ddt-send', programFile: undefined, isKept: true };
  const { signal } = new AbortController();
  const host = new FarHost('send', options, { ssh, signal, say: () => {} });
  await host.prepare(true);
  await host.prepare(false);
  assert.equal(host.hasRebooted, false);
  boot = 'two';
  await host.prepare(false);
  assert.equal(host.hasRebooted, true);
});
