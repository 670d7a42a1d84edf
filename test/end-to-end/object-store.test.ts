/** Copies in an object store: both commands as processes, in front of a real Ceph with its S3 gateway. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { startCeph, unlessCephGateway, type Ceph } from '../support/ceph.ts';
import { keysIn, makeBucket, storedDisk } from '../support/object-store.ts';
import { FarMachine } from '../support/far-machine.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  MIB,
  PROGRAMS,
  bounded,
  doneOf,
  runReceiver,
  runSender,
  sendAll,
  startSender,
  until,
} from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk } from '../support/run.ts';
import { STORE_BLOCK, storePlace } from '../support/store-place.ts';

const skip = unlessCephGateway();
const seed = freshSeed();
const BLOCK = 64 * KIB;
const SIZE = 8 * MIB + 1000;
const BLOCKS = 129;

let ceph: Ceph;

before(async () => {
  if (skip !== false) return;
  ceph = await startCeph({ store: 'memory', hasGateway: true });
  await makeBucket(ceph.gateway, 'disks');
});

after(async () => {
  if (skip === false) await ceph[Symbol.asyncDispose]();
});

/** A quarter of it is zeros, and another block is there twice. */
function makeDisk(): Buffer {
  const bytes = prng(seed).bytes(SIZE);
  bytes.fill(0, 2 * MIB, 4 * MIB);
  bytes.copy(bytes, 5 * MIB, 0, BLOCK);
  return bytes;
}

test('a disk is stored, and only what has changed is stored again', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await storePlace(ceph.gateway, 'changes');
  const disk = makeDisk();
  const receiptFile = join(at.folder, 'receipt.json');
  const first = await at.copy('web1', disk, '--receipt', receiptFile);
  assert.deepEqual([first.blocksSent, first.blocksZero], [BLOCKS - 32 - 1, 32]);
  const receipt = JSON.parse(await readFile(receiptFile, 'utf8')) as SealReceipt;
  assert.deepEqual(
    [receipt.readBack, receipt.target.path, receipt.digest],
    ['object-store', 's3://disks/changes#web1', 'sha-256'],
  );
  const [copy] = await at.store.copies('web1');
  assert(copy !== undefined);
  assert((await storedDisk(at.store, copy)).equals(disk));
  assert.equal((await at.store.readCopy(copy)).head.receipt, await readFile(receiptFile, 'utf8'));
  const chunks = await keysIn(at.store, 'chunks/');
  assert.equal(chunks.length, BLOCKS - 32 - 1);
  assert.deepEqual(await keysIn(at.store, 'open/'), []);
  assert.deepEqual(await keysIn(at.store, 'pending/'), []);

  const again = await at.copy('web1', disk);
  assert.equal(again.blocksSent, 0);
  assert(again.bytesWire < MIB, `${again.bytesWire} bytes`);
  assert.deepEqual(await keysIn(at.store, 'chunks/'), chunks);

  disk.write('changed', 6 * MIB);
  assert.equal((await at.copy('web1', disk)).blocksSent, 1);
  assert.equal((await keysIn(at.store, 'chunks/')).length, chunks.length + 1);
  const copies = await at.store.copies('web1');
  assert.equal(copies.length, 3);
  const last = copies.at(-1);
  assert(last !== undefined);
  assert((await storedDisk(at.store, last)).equals(disk));

  // Another disk, with the same content elsewhere.
  const other = Buffer.concat([disk.subarray(6 * MIB, 8 * MIB), disk.subarray(0, 6 * MIB)]);
  assert.equal((await at.copy('web2', other)).blocksSent, 0);
  assert.equal((await keysIn(at.store, 'chunks/')).length, chunks.length + 1);
});

test('a pipe is stored, and two copies are served on one port', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await storePlace(ceph.gateway, 'pipes');
  const disk = makeDisk();
  const source = join(at.folder, 'source');
  await writeFile(source, disk);
  await using receiver = await at.receiver('web1', { more: ['s3://disks/pipes#web2'] });
  const place = ['-c', 'cat "$1" | "$2" --block-size 64KiB - "$3"', 'sh', source];
  for (const ticket of receiver.tickets) await runOk('sh', [...place, join(PROGRAMS, 'ddt-send'), ticket]);
  const copies = await at.store.copies();
  assert.deepEqual(
    copies.map(({ name }) => name),
    ['web1', 'web2'],
  );
  for (const copy of copies) assert((await storedDisk(at.store, copy)).equals(disk));
});

test('another source needs --discard-transfer, which costs no stored block', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await storePlace(ceph.gateway, 'discarded');
  const disk = prng(seed).bytes(SIZE);
  const [source, longer] = ['source', 'longer'].map((name) => join(at.folder, name)) as [string, string];
  await writeFile(source, disk);
  await writeFile(longer, Buffer.concat([disk, disk]));
  await using receiver = await at.receiver('web1');
  const options = [...STORE_BLOCK, '--ticket-file', receiver.ticketFile];
  await using sender = await startSender([...options, '--bwlimit', '2M', source]);
  await until('some durable blocks', async () => (await receiver.durableCount()) > 20);
  sender.kill('SIGKILL');
  await sender.ended;
  const refused = await runSender([...options, longer]);
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(refused.stderr, /this target belongs to another transfer.*--discard-transfer/s);
  await receiver.end('SIGTERM');
  const { ticket } = receiver;
  await receiver.start({ options: ['--discard-transfer', '--yes'] });
  assert.notEqual(receiver.ticket, ticket);
  const done = await sendAll(...options, longer);
  assert(done.blocksSent < 2 * BLOCKS - 20 && done.blocksTotal === 257, `${done.blocksSent} sent`);
});

test(
  'one command copies a disk of a machine that ssh reaches, as often as it is run',
  { skip: skip || unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen') },
  async () => {
    await using at = await storePlace(ceph.gateway, 'pulled');
    await using machine = await FarMachine.withSource(MIB);
    for (const sent of [/^blocks {3}4 sent, /m, /^blocks {3}0 sent, 4 copied on the target, /m]) {
      const ended = await machine.pullOnto(`${at.store.name.store}#web1`, at.env);
      assert.equal(ended.status, 0, ended.stderr);
      assert.match(ended.stdout, sent);
    }
    const copies = await at.store.copies('web1');
    assert.equal(copies.length, 2);
    for (const copy of copies)
      assert((await storedDisk(at.store, copy)).equals(await readFile(machine.source)));
  },
);

test('what cannot be used is refused with a sentence, and the next step', { skip }, async () => {
  await using at = await storePlace(ceph.gateway, 'refused');
  const place = ['--listen', '127.0.0.1:0', '--state-dir', join(at.folder, 'state')];
  const key = 'AWS_ACCESS_KEY_ID';
  const s3 = 's3://disks#web1';
  for (const [words, env, status, message] of [
    [['s3://disks/x'], {}, 2, /the copy has no name\n.*hint: name it after a #.*s3:\/\/disks\/x#web1/],
    [['s3://others#web1'], {}, 6, /cannot open s3:\/\/others: 404 NoSuchBucket.*\n.*make the bucket first/],
    [[s3], { AWS_SECRET_ACCESS_KEY: 'x' }, 6, /403 SignatureDoesNotMatch.*\n.*check AWS_ACCESS_KEY_ID/],
    [[s3], { [key]: 'x' }, 6, /403 InvalidAccessKeyId.*\n.*check AWS_ACCESS_KEY_ID/],
    [['--s3-endpoint', 'http://127.0.0.1:1', s3], {}, 6, /cannot open s3:\/\/disks: connection refused/],
    [['--s3-endpoint', 'ftp://x', s3], {}, 2, /cannot use the S3 endpoint 'ftp:\/\/x'/],
  ] as const) {
    const ended = await runReceiver([...place, ...words], { ...at.env, ...env });
    assert.deepEqual([ended.status, message.test(ended.stderr)], [status, true], ended.stderr);
  }
});

test(
  'a receiver is killed, and one with an empty state folder elsewhere continues with the same ticket',
  { skip },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using at = await storePlace(ceph.gateway, 'another');
    const disk = prng(seed + 1).bytes(SIZE);
    const source = join(at.folder, 'source');
    await writeFile(source, disk);
    await using first = await at.receiver('db1');
    const options = [...STORE_BLOCK, '--progress', 'json', '--ticket-file', first.ticketFile];
    await using sender = await startSender([...options, '--bwlimit', '4M', source]);
    await until('half of it', async () => (await first.durableCount()) > BLOCKS / 2);
    await first.end('SIGKILL');
    const stored = (await keysIn(at.store, 'chunks/')).length;
    const elsewhere = join(at.folder, 'elsewhere');
    await mkdir(elsewhere);
    await using second = await at.receiver('db1', { folder: elsewhere, port: first.port });
    assert.equal(second.ticket, first.ticket);
    const done = doneOf(await bounded('the copy', sender.ended));
    // What was in flight when it was killed may have been stored.
    assert(done.bytesWire < SIZE + 2 * MIB, `${done.bytesWire} bytes for ${stored} stored blocks`);
    const [copy, ...more] = await at.store.copies('db1');
    assert(copy !== undefined && more.length === 0);
    assert((await storedDisk(at.store, copy)).equals(disk));
  },
);
