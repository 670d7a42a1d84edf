import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { bbrHint } from '../../../sender/lanes/congestion-control.ts';
import { tempDir } from '../../support/temp-dir.ts';

const SETTING = 'proc/sys/net/ipv4/tcp_congestion_control';
const AVAILABLE = 'proc/sys/net/ipv4/tcp_available_congestion_control';
const MODULE = `lib/modules/${release()}/kernel/net/ipv4/tcp_bbr.ko.xz`;
const ADVICE = 'this line needs many connections; BBR may fill it better than cubic:';
const SWITCH = 'sysctl -w net.ipv4.tcp_congestion_control=bbr, and start again';

async function hintWith(files: Readonly<Record<string, string>>): Promise<string | undefined> {
  await using folder = await tempDir();
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder.path, path)), { recursive: true });
    await writeFile(join(folder.path, path), text);
  }
  return await bbrHint({ root: folder.path });
}

test('BBR is advised where the kernel offers it and uses another one', async () => {
  const loaded = { [SETTING]: 'cubic\n', [AVAILABLE]: 'reno bbr cubic\n' };
  assert.equal(await hintWith(loaded), `${ADVICE} ${SWITCH}`);
  const asModule = { [SETTING]: 'cubic\n', [AVAILABLE]: 'reno cubic\n', [MODULE]: '' };
  assert.equal(await hintWith(asModule), `${ADVICE} modprobe tcp_bbr && ${SWITCH}`);
});

test('nothing is advised that is in use, missing or unknown', async () => {
  assert.equal(await hintWith({ [SETTING]: 'bbr\n', [AVAILABLE]: 'reno bbr cubic\n' }), undefined);
  assert.equal(await hintWith({ [SETTING]: 'cubic\n', [AVAILABLE]: 'reno cubic\n' }), undefined);
  assert.equal(await hintWith({}), undefined);
});
