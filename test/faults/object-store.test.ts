/** An object store that is killed, damages what it holds, is full, or is being collected. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startCeph, unlessCephGateway, type Ceph } from '../support/ceph.ts';
import { keysIn, makeBucket, overwrite, storedDisk } from '../support/object-store.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  MIB,
  bounded,
  doneOf,
  sendAll,
  startSender,
  until,
  type Receiver,
} from '../support/processes.ts';
import type { Started } from '../support/run.ts';
import { STORE_BLOCK, storePlace, type StorePlace } from '../support/store-place.ts';

const skip = unlessCephGateway();
const seed = freshSeed();
const BLOCK = 64 * KIB;
const SIZE = 8 * MIB;
/** For what starts a daemon again. */
const COPY_MS_MAX = 120_000;

let ceph: Ceph;

before(async () => {
  if (skip !== false) return;
  ceph = await startCeph({ store: 'disk', hasGateway: true });
  await makeBucket(ceph.gateway, 'disks');
});

after(async () => {
  if (skip === false) await ceph[Symbol.asyncDispose]();
});

interface Copying extends AsyncDisposable {
  readonly at: StorePlace;
  readonly disk: Buffer;
  readonly source: string;
  readonly receiver: Receiver;
  readonly sender: Started;
}

/** Begun; some blocks are durable, and most are not. */
async function copying(prefix: string, ...options: readonly string[]): Promise<Copying> {
  await using building = new AsyncDisposableStack();
  const at = building.use(await storePlace(ceph.gateway, prefix));
  const disk = prng(seed + prefix.length).bytes(SIZE);
  const source = join(at.folder, 'source');
  await writeFile(source, disk);
  const receiver = building.use(await at.receiver('web1'));
  const place = ['--progress', 'json', '--ticket-file', receiver.ticketFile, source];
  const sender = building.use(await startSender([...STORE_BLOCK, '--bwlimit', '2M', ...options, ...place]));
  await until('some durable blocks', async () => (await receiver.durableCount()) > 20);
  const parts = building.move();
  const dispose = async (): Promise<void> => await parts.disposeAsync();
  return { at, disk, source, receiver, sender, [Symbol.asyncDispose]: dispose };
}

async function assertStored({ store }: StorePlace, disk: Buffer): Promise<void> {
  const copy = (await store.copies('web1')).at(-1);
  assert(copy !== undefined);
  assert((await storedDisk(store, copy)).equals(disk));
}

test('a gateway, and then its store, are killed and started again: the copy waits', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using run = await copying('killed');
  const { at, disk, receiver, sender } = run;
  await ceph.kill('gateway');
  await receiver.process.waitForLine(/s3:\/\/disks\/killed does not answer as it should: .*; trying again/);
  await ceph.restart('gateway');
  await receiver.process.waitForLine(/s3:\/\/disks\/killed is back after /);
  const durable = await receiver.durableCount();
  await until('more of it', async () => (await receiver.durableCount()) > durable + 10);
  await ceph.kill('store');
  await sender.waitForLine(/"event":"waiting"/);
  await ceph.restart('store');
  const done = doneOf(await bounded('the copy', sender.ended, COPY_MS_MAX));
  t.diagnostic(`${done.blocksResent} of ${SIZE / BLOCK} blocks sent again`);
  await assertStored(at, disk);
});

test('what is damaged in the store is found, and healed by the next copy', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await storePlace(ceph.gateway, 'damaged');
  const disk = prng(seed).bytes(SIZE);
  await at.copy('web1', disk);
  const keyOf = (index: number): string => {
    const block = disk.subarray(index * BLOCK, (index + 1) * BLOCK);
    return `damaged/${at.store.chunkKey(hash('sha256', block, 'buffer'))}`;
  };
  const damages = [Buffer.alloc(BLOCK, 1), disk.subarray(BLOCK, BLOCK + 7), Buffer.alloc(BLOCK + 1)];
  for (const [index, bytes] of damages.entries())
    await overwrite(ceph.gateway, { bucket: 'disks', key: keyOf(index), bytes });
  assert.equal((await at.copy('web1', disk)).blocksSent, damages.length);
  await assertStored(at, disk);
});

test('what is damaged after it was recorded is read back, and sent again', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using run = await copying('recorded');
  const { at, disk, source, receiver, sender } = run;
  sender.kill('SIGKILL');
  await sender.ended;
  await receiver.end('SIGKILL');
  const [first = '', second = ''] = await keysIn(at.store, 'chunks/');
  await overwrite(ceph.gateway, { bucket: 'disks', key: `recorded/${first}`, bytes: Buffer.alloc(BLOCK, 1) });
  await at.store.delete(second);
  await receiver.start();
  await receiver.process.waitForLine(/is not what was written/);
  const done = await sendAll(...STORE_BLOCK, '--ticket-file', receiver.ticketFile, source);
  assert(done.blocksSkipped > 10, 'what is in its journal');
  await assertStored(at, disk);
});

test('a full bucket is waited for', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using run = await copying('full');
  const { at, disk, receiver, sender } = run;
  const quota = async (...words: readonly string[]): Promise<string> =>
    await ceph.command('radosgw-admin', ['quota', ...words, '--quota-scope=user', '--uid=test']);
  await quota('set', '--max-objects=1');
  await quota('enable');
  await sender.waitForLine(/"event":"waiting","code":"no-space"/);
  await receiver.process.waitForLine(
    /QuotaExceeded.*: free some space, and the transfer continues by itself/,
  );
  await quota('disable');
  doneOf(await bounded('the copy', sender.ended, COPY_MS_MAX));
  await assertStored(at, disk);
});

test('a copy is sealed after a collection has ended, with all that it has deleted', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using run = await copying('collected', '--bwlimit', '8M');
  const { at, disk, sender } = run;
  const { store } = at;
  const now = async (): Promise<string> => new Date(await store.nowMs()).toISOString();
  const [key = ''] = await keysIn(store, 'chunks/');
  await store.put(`condemned/${await now()}`, Buffer.from(key.slice(-64), 'hex'));
  await store.put('sweep.json', Buffer.from(JSON.stringify({ renewedAt: await now() })));
  await sender.waitForLine(/"event":"waiting","code":"in-use".*blocks are being deleted from s3:/);
  assert.deepEqual(await store.copies('web1'), []);
  assert.equal((await keysIn(store, 'pending/web1/')).length, 1);
  await store.delete(key);
  await store.delete('sweep.json');
  const done = doneOf(await bounded('the copy', sender.ended, COPY_MS_MAX));
  assert.equal(done.blocksResent, 1);
  await assertStored(at, disk);
  assert.deepEqual(await keysIn(store, 'pending/'), []);
});

test(
  'receivers that store and seal the same content at once do not disturb each other',
  { skip },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using at = await storePlace(ceph.gateway, 'at-once');
    const disk = prng(seed).bytes(SIZE / 2);
    await Promise.all(['web1', 'web2', 'web3'].map(async (name) => await at.copy(name, disk)));
    for (const copy of await at.store.copies()) assert((await storedDisk(at.store, copy)).equals(disk));
    assert.equal((await at.store.copies()).length, 3);
    assert.equal((await keysIn(at.store, 'chunks/')).length, SIZE / 2 / BLOCK);
  },
);
