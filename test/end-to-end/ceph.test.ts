/** Volumes of a real Ceph as source and target, and what happens when its store is killed. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { startCeph, unlessCephVolumes, type Ceph } from '../support/ceph.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  runReceiver,
  runSender,
  startReceiver,
  startSender,
  until,
} from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessCephVolumes();
const seed = freshSeed();
const VOLUME = 'rbd:rbd/disk';
/** Of the objects that a volume consists of. */
const OBJECT_BYTES = 4 * MIB;
const ZERO_BYTES = 2 * OBJECT_BYTES;
/** Half a kilobyte more than whole objects. */
const DISK_BYTES = 4 * OBJECT_BYTES + 512;
const BLOCK = ['--block-size', '64KiB'];
const SILENCE_MS = 1_500;
const RESTARTED_MS_MAX = 60_000;

/** Two objects of zeros between data. */
function diskBytes(): Buffer {
  return prng(seed)
    .bytes(DISK_BYTES)
    .fill(0, OBJECT_BYTES, OBJECT_BYTES + ZERO_BYTES);
}

/** By a client of Ceph, not by our own. */
async function assertVolume(ceph: Ceph, volume: string, file: string): Promise<void> {
  const words = ['compare', '-f', 'raw', '-F', 'raw', file, volume];
  assert.match(await ceph.command('qemu-img', words), /Images are identical/);
}

/** In whole objects, as far as the volume reaches. */
async function usedBytes(ceph: Ceph, name: string): Promise<number | undefined> {
  const usage = JSON.parse(await ceph.command('rbd', ['du', name, '--format', 'json'])) as {
    images: { used_size: number }[];
  };
  return usage.images[0]?.used_size;
}

test('a disk arrives on a volume, and out of a snapshot of it', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('disk.img'), diskBytes());
  await using ceph = await startCeph({ store: 'memory' });
  const { env } = ceph;
  await ceph.command('rbd', ['create', 'disk', '--size', `${DISK_BYTES}B`]);
  {
    await using receiver = await startReceiver({ folder: folder.path, target: VOLUME, env });
    const { target } = await receiver.status();
    assert.deepEqual([target.content, target.size], [[], DISK_BYTES]);
    const place = ['--ticket-file', receiver.ticketFile, '--receipt', at('receipt.json')];
    const sent = await runSender([...BLOCK, ...place, at('disk.img')]);
    assert.equal(sent.status, 0, sent.stderr);
    assert.match(sent.stdout, / on rbd:rbd\/disk: durable, read back and equal, as its NBD server says$/m);
    const receipt = JSON.parse(await readFile(at('receipt.json'), 'utf8')) as SealReceipt;
    assert.deepEqual([receipt.readBack, receipt.target.description], ['nbd-server', 'Ceph RBD volume']);
    assert.equal((await receiver.end('SIGTERM')).status, 0);
  }
  await assertVolume(ceph, VOLUME, at('disk.img'));
  assert.equal(await usedBytes(ceph, 'disk'), DISK_BYTES - ZERO_BYTES, 'zeros take no space');
  const check = ['--check-receipt', at('receipt.json'), VOLUME];
  assert.equal((await runReceiver(check, env)).status, 0);
  await ceph.command('rbd', ['snap', 'create', 'disk@daily']);
  await ceph.command('qemu-io', ['-f', 'raw', '-c', 'write -P 90 0 512', VOLUME]);
  assert.equal((await runReceiver(check, env)).status, 3);
  await using receiver = await startReceiver({ folder: folder.path, target: at('back.img') });
  const place = ['--ticket-file', receiver.ticketFile, `${VOLUME}@daily:id=admin`];
  doneOf(await runSender([...BLOCK, '--progress', 'json', ...place], env));
  await assertEqualFiles(at('disk.img'), at('back.img'));
});

test('a volume that does not exist, or is too small, is refused', { skip }, async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('disk.img'), diskBytes());
  await using ceph = await startCeph({ store: 'memory' });
  const { env } = ceph;
  const place = ['--listen', '127.0.0.1:0', '--state-dir', at('state')];
  const missing = await runReceiver([...place, VOLUME], env);
  assert.equal(missing.status, 4);
  assert.match(missing.stderr, /cannot open rbd:rbd\/disk: .*No such file or directory/);
  await ceph.command('rbd', ['create', 'disk', '--size', '8M']);
  await using receiver = await startReceiver({ folder: folder.path, target: VOLUME, env });
  const sent = await runSender(['--ticket-file', receiver.ticketFile, at('disk.img')]);
  assert.equal(sent.status, 4);
  assert.match(sent.stderr, /rbd:rbd\/disk at \S+ is too small: it has 8388608 bytes/);
});

test('while the store is killed a copy onto it waits, and one out of it', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('disk.img'), diskBytes());
  await writeFile(at('old.img'), prng(seed + 1).bytes(DISK_BYTES));
  await using ceph = await startCeph({ store: 'disk' });
  const { env } = ceph;
  await ceph.command('rbd', ['import', '--no-progress', at('old.img'), 'disk']);
  for (const [source, target] of [
    [at('disk.img'), VOLUME],
    [VOLUME, at('back.img')],
  ] as const) {
    const options = ['--overwrite-target'];
    await writeFile(at('limit'), '2M');
    await using receiver = await startReceiver({ folder: folder.path, target, env, options });
    const place = ['--progress', 'json', '--ticket-file', receiver.ticketFile, source];
    await using sender = await startSender([...BLOCK, '--bwlimit', `@${at('limit')}`, ...place], env);
    const durable = async (): Promise<number> => await receiver.durableCount();
    await until('some durable blocks', async () => (await durable()) > 20);
    await ceph.kill('store');
    // What was in flight has come to its end.
    await delay(SILENCE_MS);
    const before = await durable();
    await delay(SILENCE_MS);
    const now = [await durable(), sender.isRunning, receiver.process.isRunning];
    assert.deepEqual(now, [before, true, true]);
    assert(before < 100, `the copy is not over: ${before} blocks`);
    await writeFile(at('limit'), 'off');
    await ceph.restart('store');
    doneOf(await bounded('the sender', sender.ended, RESTARTED_MS_MAX));
    assert.equal((await receiver.end('SIGTERM')).status, 0);
  }
  await assertVolume(ceph, VOLUME, at('disk.img'));
  await assertEqualFiles(at('disk.img'), at('back.img'));
  assert.equal(await usedBytes(ceph, 'disk'), DISK_BYTES - ZERO_BYTES, 'old data is discarded');
});
