/** Copies in an object store: both commands as processes, in front of a real Ceph with its S3 gateway. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { startCeph, unlessCephGateway, type Ceph } from '../support/ceph.ts';
import { keysIn, makeBucket, openStore, storeEnvironment, storedDisk } from '../support/object-store.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  MIB,
  bounded,
  doneOf,
  sendAll,
  startReceiver,
  startSender,
  until,
  type Done,
  type Receiver,
  type ReceiverOptions,
} from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

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

interface Place extends AsyncDisposable {
  readonly folder: string;
  readonly store: ObjectStore;
  readonly env: NodeJS.ProcessEnv;
  /** @param name of the copy. */
  receiver(name: string, options?: Partial<ReceiverOptions>): Promise<Receiver>;
  /** @returns what was sent; the receiver is started and stopped for it. */
  copy(name: string, disk: Buffer, ...options: readonly string[]): Promise<Done>;
}

async function place(prefix: string): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await tempDir());
  const store = building.use(await openStore(ceph.gateway, `s3://disks/${prefix}`));
  const env = storeEnvironment(ceph.gateway);
  const receiver: Place['receiver'] = async (name, options = {}) =>
    await startReceiver({ folder: folder.path, target: `${store.name.store}#${name}`, env, ...options });
  const copy: Place['copy'] = async (name, disk, ...options) => {
    const source = join(folder.path, name);
    await writeFile(source, disk);
    await using running = await receiver(name);
    const done = await sendAll(
      '--block-size',
      '64KiB',
      ...options,
      '--ticket-file',
      running.ticketFile,
      source,
    );
    assert.equal((await running.end('SIGTERM')).status, 0, running.process.stderr);
    return done;
  };
  const parts = building.move();
  const dispose = async (): Promise<void> => await parts.disposeAsync();
  return { folder: folder.path, store, env, receiver, copy, [Symbol.asyncDispose]: dispose };
}

test('a disk is stored, and only what has changed is stored again', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await place('changes');
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

test(
  'a receiver is killed, and one with an empty state folder elsewhere continues with the same ticket',
  { skip },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using at = await place('another');
    const disk = prng(seed + 1).bytes(SIZE);
    const source = join(at.folder, 'source');
    await writeFile(source, disk);
    await using first = await at.receiver('db1');
    const options = ['--block-size', '64KiB', '--progress', 'json', '--ticket-file', first.ticketFile];
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
