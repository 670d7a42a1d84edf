/** What ddt-receive does with the copies in an object store: lists, checks, forgets them. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { encodeOpenRecord, openKey } from '../../common/store/collecting.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { parseReceiveArgs } from '../../receiver/cli.ts';
import { parseSendArgs } from '../../sender/cli.ts';
import { startCeph, unlessCephGateway, type Ceph } from '../support/ceph.ts';
import { readDocument } from '../support/documents.ts';
import { keysIn, makeBucket, openStore, overwrite, storeEnvironment } from '../support/object-store.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { KIB, MIB, eventsOf, runReceiver } from '../support/processes.ts';
import type { Ended } from '../support/run.ts';
import { storePlace } from '../support/store-place.ts';
import { storeCopy } from '../support/stored-copy.ts';

const skip = unlessCephGateway();
const seed = freshSeed();
const CLAIM_SOURCE = { description: 'ATA disk', path: '/dev/sdb', model: null, serial: null, byId: null };

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

async function receive(...words: readonly string[]): Promise<Ended> {
  return await runReceiver(words, storeEnvironment(ceph.gateway));
}

/** Eight blocks of 64 KiB; the first ones are those of every disk, the fourth is zeros. */
function makeDisk(number: number): Buffer {
  const bytes = Buffer.concat([
    Buffer.from(prng(seed).bytes(256 * KIB)),
    Buffer.from(prng(seed + number).bytes(256 * KIB)),
  ]);
  return bytes.fill(0, 192 * KIB, 256 * KIB);
}

async function beginTransfer(store: ObjectStore, name: string): Promise<void> {
  const claim = { size: 7 * MIB, blockSize: MIB, source: CLAIM_SOURCE, digest: 'sha-256' } as const;
  const startedAt = '2026-11-29T10:00:00.000Z';
  const rest = { claim, sizeMax: null, hasLeftOut: false, ticketIssuedAt: 0 };
  await store.put(openKey(name), encodeOpenRecord({ transferId: randomUUID(), startedAt, ...rest }));
}

async function chunkCount(store: ObjectStore): Promise<number> {
  return (await Array.fromAsync(store.chunks())).length;
}

test('--list shows the copies of a store, what they lack, and what runs', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using store = await open('list');
  const place = { blockSize: 64 * KIB };
  const leftOut = { bytes: 4096, count: 1, areas: [[0, 4096]] as const };
  await storeCopy(store, { name: 'web1', bytes: makeDisk(1), when: '2026-11-27T03:00:00.120Z', ...place });
  const more = { unreadable: [[512, 1024]] as const, leftOut, verified: 'none' } as const;
  await storeCopy(store, { name: 'web1', bytes: makeDisk(2), ...place, more });
  const { key } = await storeCopy(store, { name: 'db', bytes: makeDisk(3), ...place });
  await store.put(key, Buffer.from('nonsense\n'));
  await beginTransfer(store, 'mail');
  const listed = await receive('--list', 's3://disks/list');
  assert.equal(listed.status, 0, listed.stderr);
  assert.deepEqual(listed.stdout.replaceAll(/last at work .* ago/g, 'last at work … ago').split('\n'), [
    'name  time                      size     source',
    'db    2026-11-29T14:30:00.000Z           ' +
      `problem: cannot use the manifest s3://disks/list/${key}: its first line is not JSON`,
    'web1  2026-11-27T03:00:00.120Z  512 KiB  /disk.img: regular file',
    'web1  2026-11-29T14:30:00.000Z  512 KiB  /disk.img: regular file; ' +
      '1024 bytes in 1 area unreadable; 4 KiB in 1 area left out; not read back',
    '',
    'open     mail: 7 MiB of /dev/sdb: ATA disk, begun 2026-11-29T10:00:00.000Z, last at work … ago',
    '',
  ]);
  const one = await receive('--list', 's3://disks/list#web1@2026-11-27T03:00:00Z', '--log', 'json');
  const [copy, ...others] = eventsOf(one.stdout);
  assert.deepEqual(others, []);
  assert.equal(copy?.['copy'], 's3://disks/list#web1@2026-11-27T03:00:00.120Z');
  assert.deepEqual([copy['kind'], copy['sizeBytes'], copy['unreadable']], ['copy', 512 * KIB, []]);
  const running = eventsOf((await receive('--list', 's3://disks/list#mail', '--log=json')).stdout);
  assert.deepEqual([running[0]?.['kind'], running[0]?.['name']], ['open', 'mail']);
  assert.equal((await receive('--list', 's3://disks/list#nobody')).status, 4);
  assert.equal((await receive('--list', 's3://disks/empty')).stdout, 'no copies in s3://disks/empty\n');
});

test('--check reads each chunk once, and names what is damaged, missing and where', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using store = await open('check');
  const place = { blockSize: 64 * KIB };
  const { chunkKeys } = await storeCopy(store, { name: 'web1', bytes: makeDisk(1), ...place });
  await storeCopy(store, { name: 'web2', bytes: makeDisk(2), ...place });
  const third = await storeCopy(store, { name: 'web3', bytes: makeDisk(3), ...place });
  const fine = await receive('--check', 's3://disks/check');
  assert.equal(fine.status, 0, fine.stderr);
  // Three that all have, and four of each.
  assert.equal(
    fine.stdout,
    'equal    15 chunks, 960 KiB, of 3 copies in s3://disks/check are what their names say\n',
  );
  const [shared = '', own = ''] = [chunkKeys[1], chunkKeys[5]];
  const bytes = makeDisk(9).subarray(64 * KIB);
  await overwrite(ceph.gateway, { bucket: 'disks', key: `check/${shared}`, bytes });
  await store.delete(own);
  const manifest = await store.get(third.key);
  assert(manifest !== undefined);
  manifest[manifest.length - 1] = (manifest.at(-1) ?? 0) ^ 1;
  await store.put(third.key, manifest);
  const when = '2026-11-29T14:30:00.000Z';
  const damaged = await receive('--check', 's3://disks/check');
  assert.equal(damaged.status, 5, damaged.stderr);
  assert.deepEqual(damaged.stdout.trim().split('\n').toSorted(), [
    `copy     s3://disks/check#web1@${when}: 2 of 8 blocks are damaged or missing: blocks 1, 5 ` +
      '(offset+length 65536+65536, 327680+65536)',
    `copy     s3://disks/check#web2@${when}: 1 of 8 blocks are damaged or missing: block 1 ` +
      '(offset+length 65536+65536)',
    `damaged  s3://disks/check#web3@${when}: cannot use the manifest s3://disks/check/${third.key}: ` +
      'the digest of its digests is not the root in the receipt',
    `damaged  s3://disks/check/${shared}`,
    'differs  3 of 3 copies: 1 damaged and 1 missing of 11 chunks, 704 KiB; 1 manifest unusable',
    `missing  s3://disks/check/${own}`,
  ]);
  const one = await receive('--check', `s3://disks/check#web2@${when}`);
  assert.deepEqual([one.status, one.stdout.includes(own)], [5, false]);
});

test('a manifest under the name of another copy is none', { skip }, async () => {
  await using store = await open('moved');
  const place = { blockSize: 64 * KIB };
  const { key } = await storeCopy(store, { name: 'web1', bytes: makeDisk(1), ...place });
  await store.put(key.replace('web1', 'web2'), (await store.get(key)) ?? Buffer.alloc(0));
  const ended = await receive('--check', 's3://disks/moved');
  assert.equal(ended.status, 5);
  assert.match(
    ended.stdout,
    /damaged +s3:\/\/disks\/moved#web2@\S+: .*: it is that of another copy: web1@2026/,
  );
});

test('what is damaged or missing is repaired by the next copy that has its bytes', { skip }, async () => {
  await using place = await storePlace(ceph.gateway, 'repaired');
  const bytes = makeDisk(1);
  await place.copy('web1', bytes);
  const [first = '', second = ''] = await keysIn(place.store, 'chunks/');
  await overwrite(ceph.gateway, {
    bucket: 'disks',
    key: `repaired/${first}`,
    bytes: Buffer.alloc(64 * KIB, 1),
  });
  await place.store.delete(second);
  assert.equal((await receive('--check', 's3://disks/repaired')).status, 5);
  await place.copy('web2', bytes);
  const checked = await receive('--check', 's3://disks/repaired');
  assert.deepEqual([checked.status, /^equal +7 chunks, .* of 2 copies /.test(checked.stdout)], [0, true]);
});

test('the commands in the guide are valid', async () => {
  const guide = await readDocument('docs/guide/object-store.md');
  const commands = [...guide.matchAll(/^ddt-(send|receive) ([^#\n]*?'[^']*'|[^#\n]*)([^#\n]*)/gm)];
  assert(commands.length >= 9, `${commands.length} commands`);
  for (const [line, side, ...words] of commands) {
    const argv = words
      .join('')
      .trim()
      .split(/\s+/)
      .map((word) => word.replaceAll("'", ''));
    const parse = side === 'send' ? parseSendArgs : parseReceiveArgs;
    assert.doesNotThrow(() => parse(argv, () => assert.fail()), line);
  }
});

test('--forget asks, and deletes no chunk before it was condemned for a day', { skip }, async () => {
  await using store = await open('forget');
  const place = { blockSize: 64 * KIB };
  const times = ['2026-11-27T03:00:00.120Z', '2026-11-28T03:00:00.500Z', '2026-11-29T03:00:00.700Z'];
  for (const [number, when] of times.entries()) {
    await storeCopy(store, { name: 'web1', bytes: makeDisk(number + 1), when, ...place });
  }
  await storeCopy(store, { name: 'web2', bytes: makeDisk(7), ...place });
  await beginTransfer(store, 'mail');
  const asked = await receive('--forget', 's3://disks/forget#web1');
  assert.equal(asked.status, 4);
  assert.match(
    asked.stderr,
    /error: --forget would lose 3 copies of web1 \(2026-11-27T03:\S+ to 2026-11-29T03:00:00\.700Z\)\n/,
  );
  const one = await receive('--forget', 's3://disks/forget#web1@2026-11-28T03:00:00Z', '--yes');
  assert.equal(one.status, 0, one.stderr);
  // Nothing is older than a day.
  assert.deepEqual(one.stdout.split('\n'), [
    'forgot   s3://disks/forget#web1@2026-11-28T03:00:00.500Z',
    'deleted  0 chunks, 0 bytes',
    'kept     15 chunks, 960 KiB that copies need',
    'young    4 chunks, 256 KiB that no copy needs yet: left alone',
    '',
  ]);
  const all = await receive('--forget', 's3://disks/forget#web1', '--yes');
  assert.equal(all.stdout.match(/^forgot /gm)?.length, 2);
  const running = await receive('--forget', 's3://disks/forget#mail', '--yes');
  assert.match(running.stdout, /^forgot +the unfinished transfer onto s3:\/\/disks\/forget#mail\n/);
  assert.equal(await store.get(openKey('mail')), undefined);
  assert.deepEqual(
    (await store.copies()).map(({ name }) => name),
    ['web2'],
  );
  assert.equal(await chunkCount(store), 19);
  assert.equal((await receive('--check', 's3://disks/forget')).status, 0);
  const nobody = await receive('--forget', 's3://disks/forget#web1', '--yes');
  assert.deepEqual(
    [nobody.status, /there is no copy web1 in \S+: it has web2/.test(nobody.stderr)],
    [4, true],
  );
});

test('options that mean nothing beside them, and names of no store, are refused', { skip }, async () => {
  for (const [words, message] of [
    [
      ['--check', '/dev/sdc'],
      /'\/dev\/sdc' is not an object store\n.*to compare a disk with its receipt: --check-receipt/,
    ],
    [['--check', 's3://disks/x', '--once'], /--check cannot be combined with '--once'/],
    [['--check', 's3://disks/x', '--yes'], /--check cannot be combined with '--yes'/],
    [['--forget', 's3://disks/x', '/dev/sdc'], /--forget cannot be combined with '\/dev\/sdc'/],
    [['--list', 's3://disks/x', '--state-dir', '/tmp'], /--list cannot be combined with '--state-dir'/],
    [['--list', 's3://disks/x#web1@yesterday'], /'yesterday' is not a time as --list shows it/],
    [['--list', '--s3-endpoint', 'https://a.example'], /--list cannot be combined with '--s3-endpoint'/],
  ] as const) {
    const ended = await receive(...words);
    assert.deepEqual([ended.status, message.test(ended.stderr)], [2, true], ended.stderr);
  }
  const place = ['--s3-endpoint', ceph.gateway.endpoint, '--list', 's3://disks/empty'];
  const env = { ...storeEnvironment(ceph.gateway), AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9' };
  assert.equal((await runReceiver(place, env)).status, 0);
  const strange = await runReceiver(place, { ...env, AWS_SECRET_ACCESS_KEY: 'other' });
  assert.deepEqual(
    [strange.status, /403 SignatureDoesNotMatch/.test(strange.stderr)],
    [6, true],
    strange.stderr,
  );
});
