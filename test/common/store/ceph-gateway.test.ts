/** The store in a real Ceph, through its gateway. */
import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { ObjectStore } from '../../../common/store/object-store.ts';
import { startCeph, unlessCephGateway, type Ceph } from '../../support/ceph.ts';
import { coded } from '../../support/coded.ts';
import { eventually } from '../../support/eventually.ts';
import { makeBucket, openStore, overwrite } from '../../support/object-store.ts';
import { MIB } from '../../support/processes.ts';

const skip = unlessCephGateway();
const WRITERS = 50;
/** More than a page of a listing has. */
const MANY = 1100;

let ceph: Ceph;

before(async () => {
  if (skip !== false) return;
  ceph = await startCeph({ store: 'disk', hasGateway: true });
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

function digestOf(bytes: Buffer): Buffer {
  return hash('sha256', bytes, 'buffer');
}

test('a chunk is stored once, read back, and healed where it was damaged', { skip }, async () => {
  await using store = await open('once');
  const bytes = randomBytes(4 * MIB);
  const digest = digestOf(bytes);
  const into = Buffer.alloc(bytes.length);
  assert.equal(await store.readChunk(into, digest), 'absent');
  assert.equal(await store.putChunk(bytes, digest), true);
  assert.equal(await store.putChunk(bytes, digest), false);
  assert.equal(await store.readChunk(into, digest), 'equal');
  assert.deepEqual(into, bytes);
  const key = `once/${store.chunkKey(digest)}`;
  for (const damage of [randomBytes(bytes.length), bytes.subarray(1), Buffer.concat([bytes, bytes])]) {
    await overwrite(ceph.gateway, { bucket: 'disks', key, bytes: damage });
    assert.equal(await store.readChunk(into, digest), 'different');
  }
  await store.replaceChunk(bytes, digest);
  assert.equal(await store.readChunk(into, digest), 'equal');
  await store.delete(store.chunkKey(digest));
  await store.delete(store.chunkKey(digest));
  assert.equal(await store.readChunk(into, digest), 'absent');
});

test('bytes that do not have their digest are not stored', { skip }, async () => {
  await using store = await open('wrong');
  const digest = digestOf(Buffer.from('other'));
  await assert.rejects(store.putChunk(randomBytes(100_000), digest), /400 XAmzContentSHA256Mismatch/);
  assert.equal(await store.modifiedAtMs(store.chunkKey(digest)), undefined);
});

test(`of ${WRITERS} writers of one chunk one stores it, and all find it there`, { skip }, async () => {
  await using store = await open('race');
  const bytes = randomBytes(MIB);
  const digest = digestOf(bytes);
  const isStored = await Promise.all(
    Array.from({ length: WRITERS }, async () => await store.putChunk(bytes, digest)),
  );
  assert.equal(isStored.filter(Boolean).length, 1);
  assert.equal(await store.readChunk(Buffer.alloc(bytes.length), digest), 'equal');
});

test('a listing has every chunk, page after page, and no other store', { skip }, async () => {
  await using store = await open('many');
  await using other = await open('many-others');
  const digests = new Set<string>();
  const bytes = Array.from({ length: MANY }, (_, at) => Buffer.from(`chunk ${at}`));
  await Promise.all(
    bytes.map(async (chunk) => {
      digests.add(digestOf(chunk).toString('hex'));
      await store.putChunk(chunk, digestOf(chunk));
    }),
  );
  await other.putChunk(Buffer.from('of another store'), digestOf(Buffer.from('of another store')));
  const nowMs = await store.nowMs();
  const found: string[] = [];
  for await (const { digest, sizeBytes, modifiedAtMs } of store.chunks()) {
    found.push(digest.toString('hex'));
    assert(sizeBytes >= 7 && Math.abs(nowMs - modifiedAtMs) < 60_000);
  }
  assert.deepEqual(found, [...digests].sort());
});

test('a gateway that is killed is waited for, and nothing that was stored is lost', { skip }, async () => {
  await using store = await open('killed');
  const sentences: string[] = [];
  store.reportOutages((sentence) => sentences.push(sentence));
  const chunks = Array.from({ length: 24 }, () => randomBytes(MIB));
  const first = chunks[0] ?? Buffer.alloc(0);
  await store.putChunk(first, digestOf(first));
  const puts = Promise.all(chunks.map(async (chunk) => await store.putChunk(chunk, digestOf(chunk))));
  await ceph.kill('gateway');
  await eventually('the outage is noticed', () => sentences.length > 0);
  await ceph.restart('gateway');
  await puts;
  const into = Buffer.alloc(MIB);
  for (const chunk of chunks) assert.equal(await store.readChunk(into, digestOf(chunk)), 'equal');
  assert.match(sentences.at(-1) ?? '', /is back after/);
});

test('no bucket, wrong keys, no service: each is said, with what to do', { skip }, async () => {
  const { gateway } = ceph;
  const refused = (message: RegExp, hint: RegExp): ((error: unknown) => true) =>
    coded('connection-failed', { message, hint });
  await assert.rejects(openStore(gateway, 's3://nothing/a'), refused(/404 NoSuchBucket/, /make the bucket/));
  const wrong = { ...gateway, secretKey: 'wrong' };
  await assert.rejects(
    openStore(wrong, 's3://disks/a'),
    refused(/403 SignatureDoesNot/, /SECRET_ACCESS_KEY/),
  );
  const unknown = { ...gateway, accessKey: 'unknown' };
  await assert.rejects(openStore(unknown, 's3://disks/a'), refused(/403 InvalidAccessKeyId/, /AWS_ACCESS/));
  const elsewhere = { ...gateway, endpoint: 'http://127.0.0.1:9' };
  await assert.rejects(openStore(elsewhere, 's3://disks/a'), refused(/connection refused/, /^$/));
});
