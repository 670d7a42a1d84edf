/** Collections in a real Ceph: what they delete and leave, two of them at once, and one that is killed. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { systemClock, type Clock } from '../../common/clock.ts';
import { SWEEP_KEY, encodeOpenRecord, openKey, pendingKey } from '../../common/store/collecting.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { checkStore } from '../../receiver/store/check-store.ts';
import { collect, type Collection } from '../../receiver/store/collect.ts';
import { startCeph, unlessCephGateway, type Ceph } from '../support/ceph.ts';
import { makeBucket, openStore, storeEnvironment } from '../support/object-store.ts';
import { KIB, bounded, environment, until } from '../support/processes.ts';
import { start } from '../support/run.ts';
import { storeCopy, type CopyInStore } from '../support/stored-copy.ts';

const skip = unlessCephGateway();
const BLOCK = 64 * KIB;
/** Looks for a change after this, not after a minute, and does not settle for seconds. */
const IMPATIENT: Clock = {
  ...systemClock,
  sleep: async (ms, signal) => await systemClock.sleep(Math.min(ms, 50), signal),
};

let ceph: Ceph;

before(async () => {
  if (skip !== false) return;
  ceph = await startCeph({ store: 'memory', hasGateway: true });
  await makeBucket(ceph.gateway, 'disks');
});

after(async () => {
  if (skip === false) await ceph[Symbol.asyncDispose]();
});

async function open(prefix: string): Promise<ObjectStore> {
  return await openStore(ceph.gateway, `s3://disks/${prefix}`);
}

/** The service says what time it is in whole seconds. */
async function nextSecond(): Promise<void> {
  await delay(1100);
}

/** Without a grace time: what is older than this second. */
async function collectNow(place: ObjectStore, clock: Clock = systemClock): Promise<Collection> {
  await nextSecond();
  return await collect(place, { clock, graceMs: 0 });
}

async function storeBytes(place: ObjectStore, name: string, bytes: Buffer): Promise<CopyInStore> {
  return await storeCopy(place, { name, bytes, blockSize: BLOCK });
}

async function keysOf(place: ObjectStore, folder: string): Promise<string[]> {
  return (await Array.fromAsync(place.list(folder))).map(({ key }) => key);
}

function counts({ tally }: Collection): Record<string, number> {
  const { keep, young, condemn, waits, delete: deleted } = tally;
  return {
    keep: keep.chunks,
    young: young.chunks,
    condemn: condemn.chunks,
    waits: waits.chunks,
    delete: deleted.chunks,
  };
}

async function assertWhole(place: ObjectStore): Promise<void> {
  const ignore = (): void => {};
  const found = await checkStore(place, place.name, {
    onDamage: ignore,
    onUnusable: ignore,
    onProgress: ignore,
  });
  assert.deepEqual([found.missing, found.different, found.unusable], [0, 0, 0]);
}

test('chunks are condemned, then deleted; those of other copies stay', { skip }, async () => {
  await using place = await open('phases');
  const shared = randomBytes(2 * BLOCK);
  const first = await storeBytes(place, 'web1', Buffer.concat([shared, randomBytes(3 * BLOCK)]));
  const second = await storeBytes(place, 'web2', Buffer.concat([randomBytes(BLOCK), shared]));
  assert.deepEqual(counts(await collectNow(place)), { keep: 6, young: 0, condemn: 0, waits: 0, delete: 0 });
  await place.delete(first.key);
  const early = await collect(place, { clock: systemClock });
  assert.deepEqual(
    [counts(early), early.nextAtMs],
    [{ keep: 3, young: 3, condemn: 0, waits: 0, delete: 0 }, undefined],
  );
  const condemning = await collectNow(place);
  assert.deepEqual(counts(condemning), { keep: 3, young: 0, condemn: 3, waits: 0, delete: 0 });
  const [list = '', ...others] = await keysOf(place, 'condemned/');
  assert.deepEqual(others, []);
  const wanted = first.chunkKeys.slice(2).map((key) => key.slice(-64));
  assert.equal((await place.get(list))?.toString('hex'), wanted.toSorted().join(''));
  const waiting = await collect(place, { clock: systemClock, graceMs: 3_600_000 });
  assert.deepEqual(counts(waiting), { keep: 3, young: 0, condemn: 0, waits: 3, delete: 0 });
  assert((waiting.nextAtMs ?? 0) > Date.parse(list.slice('condemned/'.length)) + 3_500_000);
  const deleting = await collectNow(place);
  assert.deepEqual(counts(deleting), { keep: 3, young: 0, condemn: 0, waits: 0, delete: 3 });
  assert.equal(deleting.tally.delete.bytes, 3 * BLOCK);
  assert.deepEqual(await keysOf(place, 'chunks/'), second.chunkKeys.toSorted());
  assert.deepEqual([...(await keysOf(place, 'condemned/')), ...(await keysOf(place, SWEEP_KEY))], []);
  await assertWhole(place);
});

test('what is wanted again after it was condemned stays', { skip }, async () => {
  await using place = await open('wanted');
  const bytes = randomBytes(5 * BLOCK);
  const { key, chunkKeys, digests } = await storeBytes(place, 'web1', bytes);
  const manifest = await place.get(key);
  assert(manifest !== undefined);
  await place.delete(key);
  assert.equal(counts(await collectNow(place))['condemn'], 5);
  // Stored again, sealed, about to be sealed.
  await nextSecond();
  await place.replaceChunk(bytes.subarray(0, BLOCK), digests.subarray(0, 32));
  const sealed = await storeBytes(place, 'web2', bytes.subarray(BLOCK, 2 * BLOCK));
  const pending = await storeBytes(place, 'web3', bytes.subarray(2 * BLOCK, 3 * BLOCK));
  await place.put(pendingKey('web3', randomUUID()), (await place.get(pending.key)) ?? Buffer.alloc(0));
  await place.delete(pending.key);
  // That one is younger than its list, and needed by nobody: it waits for another one.
  assert.deepEqual(counts(await collectNow(place)), { keep: 2, young: 0, condemn: 1, waits: 0, delete: 2 });
  assert.deepEqual(await keysOf(place, 'chunks/'), chunkKeys.slice(0, 3).toSorted());
  assert.deepEqual(sealed.chunkKeys, chunkKeys.slice(1, 2));
  assert.equal((await keysOf(place, 'condemned/')).length, 1);
});

test('nothing is condemned that is younger than a running transfer', { skip }, async () => {
  await using place = await open('running');
  const old = await storeBytes(place, 'web1', randomBytes(BLOCK));
  await place.delete(old.key);
  await nextSecond();
  const startedAt = new Date(await place.nowMs()).toISOString();
  const record = { transferId: randomUUID(), startedAt, claim: null, sizeMax: null, hasLeftOut: false };
  await place.put(openKey('web2'), encodeOpenRecord({ ...record, ticketIssuedAt: 0 }));
  await place.delete((await storeBytes(place, 'web2', randomBytes(BLOCK))).key);
  assert.deepEqual(counts(await collectNow(place)), { keep: 0, young: 1, condemn: 1, waits: 0, delete: 0 });
  await place.put(openKey('web2'), Buffer.from('{'));
  const code = 'state-refused';
  await assert.rejects(collectNow(place), {
    code,
    message: /cannot read the transfer onto \S+#web2: .* damaged/,
  });
});

test('a manifest that cannot be read ends it before anything is deleted', { skip }, async () => {
  await using place = await open('damaged');
  await place.delete((await storeBytes(place, 'web1', randomBytes(BLOCK))).key);
  assert.equal(counts(await collectNow(place))['condemn'], 1);
  const { key } = await storeBytes(place, 'web2', randomBytes(BLOCK));
  await place.put(key, Buffer.from('nonsense'));
  await assert.rejects(collectNow(place), {
    code: 'state-refused',
    message: /nothing is deleted: cannot use the manifest \S+: its first line has no end/,
    hint: /ddt-receive --forget 's3:\/\/disks\/damaged#web2@2026-11-29T14:30:00\.000Z'/,
  });
  assert.equal((await keysOf(place, 'chunks/')).length, 2);
  assert.deepEqual(await keysOf(place, SWEEP_KEY), []);
});

test('of two at once one is refused', { skip }, async () => {
  await using place = await open('two');
  await place.delete((await storeBytes(place, 'web1', randomBytes(20 * BLOCK))).key);
  const both = await Promise.allSettled([collectNow(place), collectNow(place)]);
  const refused = both.filter(({ status }) => status === 'rejected');
  assert.equal(refused.length, 1);
  const [{ reason }] = refused as [PromiseRejectedResult];
  assert.match(String(reason), /another collection has s3:\/\/disks\/two\/sweep\.json, and was at work/);
  assert.deepEqual(await keysOf(place, SWEEP_KEY), []);
});

test('one that is killed stands in the way for a while; the next one ends its work', { skip }, async () => {
  await using place = await open('killed');
  const shared = randomBytes(20 * BLOCK);
  const gone = await storeBytes(place, 'web1', Buffer.concat([shared, randomBytes(600 * BLOCK)]));
  await storeBytes(place, 'web2', shared);
  await place.delete(gone.key);
  assert.equal(counts(await collectNow(place))['condemn'], 600);
  await nextSecond();
  const script = join(import.meta.dirname, '../support/collector.ts');
  const env = environment(storeEnvironment(ceph.gateway));
  await using collector = await start(process.execPath, [script, 's3://disks/killed', '0'], { env });
  const left = async (): Promise<number> => (await keysOf(place, 'chunks/')).length;
  await until('some deletions', async () => (await left()) < 560);
  collector.kill('SIGKILL');
  await bounded('its end', collector.ended);
  assert((await left()) > 20, 'it was not done');
  await assertWhole(place);
  await assert.rejects(collectNow(place), { code: 'in-use' });
  const renewedAt = new Date((await place.nowMs()) - 11 * 60_000).toISOString();
  await place.put(SWEEP_KEY, Buffer.from(JSON.stringify({ renewedAt })));
  const { tally } = await collectNow(place, IMPATIENT);
  assert.deepEqual([tally.keep.chunks, tally.delete.chunks > 0, await left()], [20, true, 20]);
  assert.deepEqual([...(await keysOf(place, 'condemned/')), ...(await keysOf(place, SWEEP_KEY))], []);
  await assertWhole(place);
});

test('one whose place another has taken stops', { skip }, async () => {
  await using place = await open('replaced');
  await place.delete((await storeBytes(place, 'web1', randomBytes(600 * BLOCK))).key);
  assert.equal(counts(await collectNow(place))['condemn'], 600);
  await nextSecond();
  const running = collect(place, { clock: IMPATIENT, graceMs: 0 });
  await until('it to begin', async () => (await keysOf(place, SWEEP_KEY)).length > 0);
  const other = Buffer.from(JSON.stringify({ renewedAt: new Date(await place.nowMs()), id: 'other' }));
  const over = new AbortController();
  const rejected = assert.rejects(running, { code: 'in-use', message: /another collection has/ });
  const ended = rejected.finally(() => over.abort());
  ended.catch(() => {});
  // It may be renewing its claim at this moment, and so take its place back.
  while (!over.signal.aborted) await place.put(SWEEP_KEY, other);
  await ended;
  assert.equal((await place.get(SWEEP_KEY))?.equals(other), true);
});
