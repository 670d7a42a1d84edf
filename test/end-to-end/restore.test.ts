/** Copies in an object store as the source: restored, resumed, and what is damaged there. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { startCeph, unlessCephGateway, type Ceph } from '../support/ceph.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { makeBucket, openStore, overwrite, storeEnvironment } from '../support/object-store.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  eventsOf,
  runReceiver,
  runSender,
  startReceiver,
  startSender,
  until,
} from '../support/processes.ts';
import type { Ended, Started } from '../support/run.ts';
import { storeCopy } from '../support/stored-copy.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessCephGateway();
const seed = freshSeed();
/** Of 1 MiB, as most copies here have it; the last is shorter. */
const SIZE_BYTES = 12 * MIB + 1000;
const ZEROS = [4 * MIB, 9 * MIB] as const;

let ceph: Ceph;

before(async () => {
  if (skip !== false) return;
  ceph = await startCeph({ store: 'memory', hasGateway: true });
  await makeBucket(ceph.gateway, 'disks');
});

after(async () => {
  if (skip === false) await ceph[Symbol.asyncDispose]();
});

function makeDisk(number = 0): Buffer {
  const bytes = Buffer.from(prng(seed + number).bytes(SIZE_BYTES));
  return bytes.fill(0, ...ZEROS);
}

async function open(prefix: string): Promise<ObjectStore> {
  return await openStore(ceph.gateway, `s3://disks/${prefix}`);
}

async function send(...words: readonly string[]): Promise<Ended> {
  return await runSender(['--progress', 'json', ...words], storeEnvironment(ceph.gateway));
}

async function startSend(...words: readonly string[]): Promise<Started> {
  return await startSender(['--progress', 'json', ...words], storeEnvironment(ceph.gateway));
}

test('a copy is restored onto a file, with blocks of the same size and of others', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await using store = await open('sizes');
  await writeFile(at('disk'), makeDisk());
  await storeCopy(store, { name: 'web1', bytes: makeDisk() });
  for (const [name, ...words] of [
    ['as-it-is'],
    ['same', '--block-size', '1MiB'],
    ['smaller', '--block-size', '64KiB', '--connections', '16'],
    ['larger', '--block-size', '16MiB'],
  ] as const) {
    await using receiver = await startReceiver({ folder: folder.path, target: at(name) });
    const done = doneOf(await send(...words, '--ticket-file', receiver.ticketFile, 's3://disks/sizes#web1'));
    assert(done.blocksZero > 0 || name === 'larger', 'zeros are not sent');
    await assertEqualFiles(at('disk'), at(name));
  }
});

test(
  'onto a device; the source is named, and what its receipt says',
  { skip: skip || skipUnlessLoop },
  async () => {
    await using folder = await tempDir();
    await using store = await open('device');
    await using device = await loopDevice(32 * MIB);
    const bytes = makeDisk();
    const more = {
      unreadable: [[4 * MIB, 512]] as const,
      leftOut: { bytes: MIB, count: 1, areas: [[6 * MIB, MIB]] as const },
      verified: 'none',
    } as const;
    await storeCopy(store, { name: 'web1', bytes, more });
    await using receiver = await startReceiver({ folder: folder.path, target: device.path });
    const words = ['--ticket-file', receiver.ticketFile, 's3://disks/device'];
    const sent = await runSender(words, storeEnvironment(ceph.gateway));
    assert.equal(sent.status, 0, sent.stderr);
    const text = sent.stdout + sent.stderr;
    for (const line of [
      /^source +s3:\/\/disks\/device#web1@\S+\.000Z: stored copy of \/disk\.img: .*, 12\.0 MiB$/m,
      /^note +its receipt is signed by the key SHA256:\S{43}$/m,
      /^note +512 bytes in 1 area of its source were unreadable when it was stored: zeros on the target$/m,
      /^note +1 MiB in 1 area of its source were left out when it was stored: zeros on the target$/m,
      /^note +it was not read back when it was stored$/m,
    ]) {
      assert.match(text, line);
    }
    const written = await readFile(device.backingFile);
    assert(written.subarray(0, SIZE_BYTES).equals(bytes));
  },
);

test('the last copy of a name, or the one of a time', { skip }, async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await using store = await open('several');
  const times = ['2026-11-27T03:00:00.120Z', '2026-11-29T03:00:00.500Z', '2026-11-28T03:00:00.700Z'];
  for (const [number, when] of times.entries()) {
    await storeCopy(store, { name: 'web1', bytes: makeDisk(number), when });
  }
  await storeCopy(store, { name: 'web2', bytes: makeDisk(9) });
  for (const [name, number] of [
    ['web1', 1],
    ['web1@2026-11-28T03:00:00.700Z', 2],
    ['web1@2026-11-27T03:00:00Z', 0],
    ['web2', 9],
  ] as const) {
    await using receiver = await startReceiver({ folder: folder.path, target: at(name) });
    doneOf(await send('--ticket-file', receiver.ticketFile, `s3://disks/several/#${name}`));
    assert((await readFile(at(name))).equals(makeDisk(number)), name);
  }
});

test(
  'names that mean none or several, and options that mean nothing here, are refused',
  { skip },
  async () => {
    await using folder = await tempDir();
    await using store = await open('refused');
    for (const [name, when] of [
      ['web1', '2026-11-27T03:00:00.120Z'],
      ['web1', '2026-11-28T03:00:00.700Z'],
      ['web2', '2026-11-28T03:00:00.700Z'],
    ] as const) {
      await storeCopy(store, { name, bytes: Buffer.alloc(MIB, 1), when });
    }
    const target = join(folder.path, 'none');
    await using receiver = await startReceiver({ folder: folder.path, target });
    for (const [source, status, message, ...words] of [
      [
        's3://disks/refused',
        2,
        /has copies of 2 names: web1, web2\n.*hint: add one of them, for example '\S+#web1'/,
      ],
      ['s3://disks/refused#web3', 4, /there is no copy web3 in s3:\/\/disks\/refused: it has web1, web2/],
      [
        's3://disks/refused#web1@2026-11-26T03:00:00Z',
        4,
        /there is no \S+: web1 has 2026-11-27T03:00:00\.120Z, /,
      ],
      ['s3://disks/other', 4, /there is no copy in s3:\/\/disks\/other: it holds no copy/],
      [
        's3://other/refused',
        6,
        /cannot open s3:\/\/other\/refused: 404 NoSuchBucket\n.*hint: make the bucket/,
      ],
      ['s3://disks/refused#web1', 2, /--used-only is for disks and files, not for s3:/, '--used-only'],
      [
        's3://disks/refused#web1',
        2,
        /--source-size is for standard input: the size of s3:/,
        '--source-size=1M',
      ],
      ['s3://disks/refused#web1', 2, /--format/, '--format=qcow2'],
      [
        's3://disks/refused#web1',
        6,
        /cannot open .*: connection refused/,
        '--s3-endpoint=http://127.0.0.1:9',
      ],
    ] as const) {
      const ended = await send(...words, '--ticket-file', receiver.ticketFile, source);
      assert.equal(ended.status, status, `${source}: ${ended.stderr}`);
      assert.match(ended.stderr, message);
    }
  },
);

test('a chunk that is damaged or gone ends the copy, or is zeros, listed', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await using store = await open('damage');
  const bytes = makeDisk();
  const { chunkKeys } = await storeCopy(store, { name: 'web1', bytes });
  const [damaged = '', gone = ''] = [chunkKeys[2], chunkKeys[12]];
  await overwrite(ceph.gateway, {
    bucket: 'disks',
    key: `damage/${damaged}`,
    bytes: makeDisk(1).subarray(0, MIB),
  });
  await store.delete(gone);
  for (const [name, ...words] of [
    ['same', '--block-size=1MiB'],
    ['smaller', '--block-size=64KiB'],
    ['larger', '--block-size=2MiB'],
  ] as const) {
    await using receiver = await startReceiver({ folder: folder.path, target: at(name) });
    const place = [
      '--connections=1',
      ...words,
      '--ticket-file',
      receiver.ticketFile,
      's3://disks/damage#web1',
    ];
    const stopped = await send(...place);
    assert.equal(stopped.status, 5, stopped.stderr);
    const lengthBytes = name === 'smaller' ? 64 * KIB : MIB;
    const [what] = stopped.stderr.split('\n').filter((line) => line.includes('error: '));
    assert.equal(
      what,
      `ddt-send: error: cannot read ${lengthBytes} bytes at offset ${2 * MIB} of ` +
        's3://disks/damage#web1@2026-11-29T14:30:00.000Z: ' +
        `the bytes in s3://disks/damage/${damaged} are not those of its name (sector 4096)`,
    );
    assert.match(
      stopped.stderr,
      /hint: ddt-receive --check 's3:\/\/disks\/damage' lists all damage; a new copy/,
    );
    const sent = await send('--on-read-error', 'zero', ...place);
    assert.equal(sent.status, 3, sent.stderr);
    const lost = [
      [2 * MIB, MIB],
      [12 * MIB, 1000],
    ];
    assert.deepEqual(eventsOf(sent.stdout).at(-1)?.['unreadable'], lost);
    const wanted = Buffer.from(bytes)
      .fill(0, 2 * MIB, 3 * MIB)
      .fill(0, 12 * MIB);
    assert((await readFile(at(name))).equals(wanted), name);
  }
});

test('a manifest that is damaged is refused', { skip }, async () => {
  await using folder = await tempDir();
  await using store = await open('manifest');
  const { key } = await storeCopy(store, { name: 'web1', bytes: makeDisk() });
  const bytes = await store.get(key);
  assert(bytes !== undefined);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  await store.put(key, bytes);
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const ended = await send('--ticket-file', receiver.ticketFile, 's3://disks/manifest#web1');
  assert.equal(ended.status, 4);
  assert.match(
    ended.stderr,
    /cannot use the manifest s3:\/\/disks\/manifest\/copies\/web1\/\S+: the digest of its/,
  );
});

test('a gateway that is killed is waited for, and a sender that is killed resumes', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await using store = await open('killed');
  await writeFile(at('disk'), makeDisk());
  await storeCopy(store, { name: 'web1', bytes: makeDisk(), blockSize: 64 * KIB });
  await using receiver = await startReceiver({ folder: folder.path, target: at('target') });
  const place = ['--block-size=64KiB', '--ticket-file', receiver.ticketFile, 's3://disks/killed#web1'];
  await using first = await startSend('--bwlimit=3M', ...place);
  await until('some durable blocks', async () => (await receiver.durableCount()) > 20);
  first.kill('SIGKILL');
  await first.ended;
  await using second = await startSend('--bwlimit=3M', ...place);
  const count = await receiver.durableCount();
  await until('more of them', async () => (await receiver.durableCount()) > count + 10);
  await ceph.kill('gateway');
  await second.waitForLine(/s3:\/\/disks\/killed does not answer as it should: .*; trying again/);
  await ceph.restart('gateway');
  await second.waitForLine(/s3:\/\/disks\/killed is back after /);
  const done = doneOf(await bounded('the copy', second.ended));
  assert(done.blocksSkipped > 20);
  await assertEqualFiles(at('disk'), at('target'));
  assert.equal((await receiver.end('SIGTERM')).status, 0);
  const listed = await runReceiver(['--list', '--state-dir', receiver.stateDir]);
  assert.match(listed.stdout, /source +s3:\/\/disks\/killed#web1@2026-11-29T14:30:00\.000Z: stored copy of /);
});
