/** The target in an object store, and what its receivers share there, in front of a real Ceph. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { CondemnedChunks, isSweeping, openKey, pendingKey } from '../../../common/store/collecting.ts';
import type { ObjectStore } from '../../../common/store/object-store.ts';
import { loadOrMakeIdentity, loadOrMakeSigningKey } from '../../../receiver/identity/certificate.ts';
import { keysInStore } from '../../../receiver/identity/key-place.ts';
import { StoreCopy } from '../../../receiver/target/store-copy.ts';
import { StoreTarget } from '../../../receiver/target/store-target.ts';
import type { TargetIdentity } from '../../../receiver/target/target.ts';
import { startCeph, unlessCephGateway, type Ceph } from '../../support/ceph.ts';
import { coded } from '../../support/coded.ts';
import { MEMORY_IDENTITY } from '../../support/memory-target.ts';
import { keysIn, makeBucket, openStore, overwrite } from '../../support/object-store.ts';
import { claimOf } from '../../support/open-transfer.ts';

const skip = unlessCephGateway();
const BLOCK = 64 * 1024;
const LAST = 1000;
/** Of the service's times. */
const SECOND_MS = 1100;
const WRITERS = 50;

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
  const store = await openStore(ceph.gateway, `s3://disks/${prefix}`);
  await store.begin();
  return store;
}

/** Three random blocks, zeros, and a short one. */
interface Disk {
  readonly store: ObjectStore;
  readonly target: StoreTarget;
  readonly blocks: readonly Buffer[];
}

function diskIn(store: ObjectStore): Disk {
  const identity: TargetIdentity = { ...MEMORY_IDENTITY, kind: 'store', path: `${store.name.store}#a` };
  const target = new StoreTarget(identity, store, 'a');
  const blocks = [1, 1, 1, 0, LAST / BLOCK].map((part) => randomBytes(part * BLOCK));
  blocks[3] = Buffer.alloc(BLOCK);
  const zeros = [BLOCK, LAST].map((length) => digestNow(Buffer.alloc(length)));
  target.store.follow({
    geometry: { sizeBytes: 4 * BLOCK + LAST, blockSizeBytes: BLOCK },
    digestOf: (index) => digestNow(blocks[index] ?? Buffer.alloc(0)),
    zeroDigestOf: (index) => zeros[index === 4 ? 1 : 0] ?? Buffer.alloc(0),
  });
  return { store, target, blocks };
}

async function write({ target, blocks }: Disk, index: number): Promise<void> {
  const bytes = blocks[index] ?? Buffer.alloc(0);
  await target.write(bytes, index * BLOCK, digestNow(bytes));
}

function chunkOf({ store, blocks }: Disk, index: number): string {
  return store.chunkKey(digestNow(blocks[index] ?? Buffer.alloc(0)));
}

test('blocks are read whole and in parts, and zeros are nowhere', { skip }, async () => {
  await using store = await open('parts');
  const disk = diskIn(store);
  const { target, blocks } = disk;
  for (const index of blocks.keys()) await write(disk, index);
  assert.equal((await keysIn(store, 'chunks/')).length, 4);
  for (const [index, bytes] of blocks.entries()) {
    const into = Buffer.alloc(bytes.length, 7);
    assert.equal(await target.readBack(into, index * BLOCK), 'object-store');
    assert.deepEqual(into, bytes);
    const held = await target.store.holds(digestNow(bytes), bytes.length);
    assert.equal(held, index === 3 ? undefined : 'object-store');
    const part = Buffer.alloc(100);
    await target.read(part, index * BLOCK + 512);
    assert.deepEqual(part, bytes.subarray(512, 612));
  }
  const short = digestNow(blocks[4] ?? Buffer.alloc(0));
  assert.equal(await target.store.holds(short, BLOCK), undefined, 'it has another length');
});

test('a chunk that is gone, longer or shorter is said to be, and written again', { skip }, async () => {
  await using store = await open('spoilt');
  const disk = diskIn(store);
  const { target, blocks } = disk;
  const spoil = async (index: number, bytes: Buffer): Promise<void> =>
    await overwrite(ceph.gateway, { bucket: 'disks', key: `spoilt/${chunkOf(disk, index)}`, bytes });
  const read = async (index: number, at = 0, length = BLOCK): Promise<void> =>
    await target.read(Buffer.alloc(length), index * BLOCK + at);
  await assert.rejects(read(0), coded('io-error', { message: /offset 0 of s3:.*chunks\/.* is missing$/ }));
  for (const damage of [Buffer.alloc(BLOCK + 1), Buffer.alloc(512), Buffer.alloc(BLOCK)]) {
    await write(disk, 0);
    await spoil(0, damage);
    const isLength = damage.length !== BLOCK;
    if (isLength) {
      await assert.rejects(read(0), coded('io-error', { message: /has another length$/ }));
      await assert.rejects(read(0, 1024, 512), coded('io-error', { message: /has another length$/ }));
    }
    assert.equal(await target.store.holds(digestNow(blocks[0] ?? Buffer.alloc(0)), BLOCK), undefined);
    await write(disk, 0);
    const into = Buffer.alloc(BLOCK);
    await target.read(into, 0);
    assert.deepEqual(into, blocks[0]);
  }
});

test(`${WRITERS} receivers write one block and begin one transfer at the same time`, { skip }, async () => {
  await using store = await open('race');
  const disk = diskIn(store);
  const all = Array.from({ length: WRITERS }, () => new StoreCopy(store, 'web1'));
  const records = await Promise.all(all.map(async (copy) => await copy.join(false)));
  assert.equal(new Set(records.map(({ transferId }) => transferId)).size, 1);
  await Promise.all(all.map(async () => await write(disk, 0)));
  assert.deepEqual(await keysIn(store, 'chunks/'), [chunkOf(disk, 0)]);
  const identities = await Promise.all(
    all.slice(0, 6).map(async () => {
      const place = keysInStore(store);
      const { pin } = await loadOrMakeIdentity(place);
      return `${pin} ${(await loadOrMakeSigningKey(place)).publicKey.toString('hex')}`;
    }),
  );
  assert.equal(new Set(identities).size, 1);
  assert.deepEqual(await keysIn(store, 'keys/'), [
    'keys/signing-key',
    'keys/tls-cert.pem',
    'keys/tls-key.pem',
  ]);
});

test('a damaged key in the store is refused, with what removes it', { skip }, async () => {
  await using store = await open('bad-key');
  await store.put('keys/signing-key', Buffer.from('?'));
  await assert.rejects(
    loadOrMakeSigningKey(keysInStore(store)),
    coded('state-refused', {
      message: /^cannot use the signing key s3:\/\/disks\/bad-key\/keys\/signing-key: it is damaged$/,
      hint: /: aws s3 rm s3:\/\/disks\/bad-key\/keys\/signing-key$/,
    }),
  );
});

test('what one receiver has recorded another one finds, and does not undo', { skip }, async () => {
  await using store = await open('records');
  const [one, two] = [new StoreCopy(store, 'web1'), new StoreCopy(store, 'web1')];
  const { transferId, startedAt, ticketIssuedAt } = await one.join(false);
  assert.equal((await two.join(false)).transferId, transferId);
  assert(Math.abs(Date.parse(startedAt) - (await store.nowMs())) < 60_000);
  const record = { transferId, claim: claimOf(3), sizeMax: 9, hasLeftOut: true, ticketIssuedAt };
  await one.keep(record);
  await two.keep({ ...record, claim: null, sizeMax: null, hasLeftOut: false, ticketIssuedAt: 0 });
  assert.deepEqual(await two.current(), { ...record, startedAt });
  assert.deepEqual(await new StoreCopy(store, 'web1').join(false), { ...record, startedAt });
  // One that is damaged is never taken for none.
  await store.put(openKey('web2'), Buffer.from('{"transferId":"x"'));
  await assert.rejects(
    new StoreCopy(store, 'web2').join(false),
    coded('io-error', { message: /is damaged/ }),
  );

  const other = new StoreCopy(store, 'web1');
  // The first one may be sealing at this moment.
  await store.put(pendingKey('web1', transferId), Buffer.from('a manifest'));
  assert.notEqual((await other.join(true)).transferId, transferId);
  assert.deepEqual(await keysIn(store, 'pending/'), [pendingKey('web1', transferId)]);
  const mismatch = coded('transfer-mismatch', { message: /or has begun another one$/, hint: /start this/ });
  await assert.rejects(one.current(), mismatch);
  await assert.rejects(one.keep(record), mismatch);
});

test('a sealed copy ends its record, and nobody else has his ended', { skip }, async () => {
  await using store = await open('sealed');
  const [one, two] = [new StoreCopy(store, 'web1'), new StoreCopy(store, 'web1')];
  const { transferId } = await one.join(false);
  await two.join(false);
  const parts = { receipt: '{}', signature: '', digests: Buffer.alloc(32) };
  const seal = async (copy: StoreCopy, id: string): Promise<void> =>
    assert.deepEqual(await copy.seal({ ...parts, transferId: id, sealedAt: '2026-11-29T14:30:00.000Z' }), []);
  await store.put(
    'sweep.json',
    Buffer.from(JSON.stringify({ renewedAt: new Date(await store.nowMs()).toISOString() })),
  );
  await assert.rejects(seal(one, transferId), coded('in-use', { message: /blocks are being deleted/ }));
  assert.deepEqual(await keysIn(store, 'pending/'), [pendingKey('web1', transferId)]);
  await store.delete('sweep.json');
  await seal(one, transferId);
  assert.deepEqual([await keysIn(store, 'open/'), await keysIn(store, 'pending/')], [[], []]);
  await assert.rejects(two.current(), coded('transfer-mismatch'));
  const next = new StoreCopy(store, 'web1');
  assert.notEqual((await next.join(false)).transferId, transferId);
  await seal(two, transferId);
  assert.deepEqual(await keysIn(store, 'open/'), [openKey('web1')]);
  // A receiver that was killed before it had ended its record.
  await store.put(openKey('web1'), Buffer.from(JSON.stringify({ ...(await next.current()), transferId })));
  assert.notEqual((await new StoreCopy(store, 'web1').join(false)).transferId, transferId);
});

test('condemned chunks are stored again where they are needed, and missed where gone', { skip }, async () => {
  await using store = await open('condemned');
  const disk = diskIn(store);
  const { store: copy } = disk.target;
  await copy.join(false);
  for (const index of disk.blocks.keys()) await write(disk, index);
  const ages = async (): Promise<(number | undefined)[]> =>
    await Promise.all([0, 1, 2].map(async (index) => await store.modifiedAtMs(chunkOf(disk, index))));
  const written = await ages();
  await delay(SECOND_MS);
  assert.equal(await copy.tend(), false);
  const digests = [0, 1, 3].map((index) => digestNow(disk.blocks[index] ?? Buffer.alloc(0)));
  // In no order.
  const list = Buffer.concat([...digests, randomBytes(32)].toSorted((a, b) => b.compare(a)));
  await store.put('condemned/2026-11-29T14:30:00.000Z', list);
  assert.equal(await copy.tend(), false);
  const tended = await ages();
  assert.deepEqual(
    tended.map((age, index) => age === written[index]),
    [false, false, true],
  );
  await delay(SECOND_MS);
  await write(disk, 0);
  assert.equal(await copy.holds(digests[1] ?? Buffer.alloc(0), BLOCK), 'object-store');
  assert.deepEqual(
    (await ages()).map((age, index) => age === tended[index]),
    [false, false, true],
  );
  await store.delete(chunkOf(disk, 1));
  // The list may be gone, too: it was seen.
  await store.delete('condemned/2026-11-29T14:30:00.000Z');
  const { transferId } = await copy.join(false);
  const parts = { receipt: '{}', signature: '', digests: Buffer.alloc(160) };
  assert.deepEqual(await copy.seal({ ...parts, transferId, sealedAt: '2026-11-29T14:30:00.000Z' }), [1]);
  assert.deepEqual(await store.copies(), []);
});

test('lists of the condemned are searched; a collection that stopped does not count', { skip }, async () => {
  await using store = await open('lists');
  const digests = Array.from({ length: 1000 }, () => randomBytes(32)).toSorted((a, b) => a.compare(b));
  await store.put('condemned/a', Buffer.concat(digests.slice(0, 500)));
  const condemned = new CondemnedChunks();
  assert.deepEqual([await condemned.read(store), await condemned.read(store)], [true, false]);
  await store.put('condemned/b', Buffer.concat(digests.slice(500, 999)));
  await store.put('condemned/c', Buffer.alloc(0));
  assert.equal(await condemned.read(store), true);
  assert.deepEqual(
    digests.map((digest) => condemned.has(digest)),
    digests.map((_, at) => at < 999),
  );
  const sweeps = async (text: string): Promise<boolean> => {
    await store.put('sweep.json', Buffer.from(text));
    return await isSweeping(store);
  };
  const renewed = async (agoMs: number): Promise<boolean> =>
    await sweeps(JSON.stringify({ renewedAt: new Date((await store.nowMs()) - agoMs).toISOString() }));
  assert.equal(await isSweeping(store), false);
  assert.deepEqual(
    [await renewed(0), await renewed(9 * 60_000), await renewed(11 * 60_000)],
    [true, true, false],
  );
  assert.equal(await sweeps('{"renewedAt"'), true, 'as old as the file');
});
