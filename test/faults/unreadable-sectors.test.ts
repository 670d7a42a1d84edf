/** Disks with bad sectors: what can be read is copied to its place, the rest is reported to the byte. */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { BLOCK_BYTES, SMALL_BLOCKS } from '../support/copied.ts';
import { damagedDisk, type DamagedDisk, type Extent } from '../support/damaged-disk.ts';
import { skipUnlessFaultDisk } from '../support/fault-disk.ts';
import { runSender, startReceiver, startSender, until, type Receiver } from '../support/processes.ts';
import { progressEventsOf } from '../support/progress-events.ts';
import { unlessInstalled } from '../support/requires.ts';
import { ddAround, ddrescue, sectorsIn } from '../support/rescued.ts';
import { runOk, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = skipUnlessFaultDisk || unlessInstalled('ddrescue');
const ZERO = ['--on-read-error', 'zero'];

async function send(to: Receiver, source: string, ...more: readonly string[]): Promise<Ended> {
  return await runSender([...SMALL_BLOCKS, '--ticket-file', to.ticketFile, ...more, source]);
}

/**
 * First, last, two neighbours on both sides of a block boundary, a single one, and three with a gap of one.
 */
function manyOf(sectorBytes: number, sizeBytes: number): Extent[] {
  const at = (sector: number, count = 1): Extent => [sector * sectorBytes, (sector + count) * sectorBytes];
  const edge = BLOCK_BYTES / sectorBytes;
  return [at(0), at(edge - 1, 2), at(edge + 3), at(edge + 5, 2), [sizeBytes - sectorBytes, sizeBytes]];
}

for (const sectorBytes of [512, 4096]) {
  test(
    `with sectors of ${sectorBytes} bytes the copy equals those of dd and ddrescue`,
    { skip },
    async () => {
      await using folder = await tempDir();
      const at = (name: string): string => join(folder.path, name);
      // The last block is a single bad sector.
      const size = 2 * BLOCK_BYTES + sectorBytes;
      await using disk = await damagedDisk(size, { sectorBytes });
      const bad = manyOf(sectorBytes, size);
      await disk.spoil(bad);
      await using receiver = await startReceiver({ target: at('target'), folder: folder.path });
      const options = ['--mapfile', at('map'), '--receipt', at('receipt'), '--progress', 'json'];
      const sending = await send(receiver, disk.path, ...ZERO, ...options);
      assert.equal(sending.status, 3, sending.stderr);
      const unreadable = bad.map(([from, end]) => [from, end - from]);
      assert.deepEqual(progressEventsOf(sending.stdout).at(-1)?.['unreadable'], unreadable);
      const receipt = JSON.parse(await readFile(at('receipt'), 'utf8')) as Record<string, unknown>;
      assert.deepEqual(receipt['unreadable'], unreadable);
      const bytes = bad.reduce((sum, [from, end]) => sum + end - from, 0);
      assert(
        sending.stderr.includes(
          `ddt-send: warning: ${bytes} bytes in 5 areas of ${disk.path} were unreadable and are zeros ` +
            `on the target; listed in ${at('receipt')} and ${at('map')}\n`,
        ),
        sending.stderr,
      );
      await ddAround(disk.path, at('by-dd'), { sectorBytes, size, badBytes: bytes });
      await runOk('cmp', [at('by-dd'), at('target')]);
      const sectors = [`--sector-size=${sectorBytes}`];
      await ddrescue(sectors, disk.path, at('by-ddrescue'), at('its-map'));
      await runOk('truncate', ['--size', String(size), at('by-ddrescue')]);
      await runOk('cmp', [at('by-ddrescue'), at('target')]);
      assert.deepEqual(await sectorsIn(at('map'), '-'), await sectorsIn(at('its-map'), '-'));
      assert.deepEqual(await sectorsIn(at('map'), '?'), []);
    },
  );
}

test('the unreadable tail of a file with an odd end is reported with its own length', { skip }, async () => {
  await using folder = await tempDir();
  const size = BLOCK_BYTES + 700;
  await using disk = await damagedDisk(size);
  await disk.spoil([[BLOCK_BYTES + 600, BLOCK_BYTES + 601]]);
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ target, folder: folder.path });
  const sending = await send(receiver, disk.file, ...ZERO, '--progress', 'json');
  assert.equal(sending.status, 3, sending.stderr);
  assert.deepEqual(progressEventsOf(sending.stdout).at(-1)?.['unreadable'], [[BLOCK_BYTES + 512, 188]]);
  assert.equal((await stat(target)).size, size);
  await runOk('cmp', ['-n', String(BLOCK_BYTES + 512), disk.medium, target]);
  await runOk('cmp', ['-n', '188', '-i', `${BLOCK_BYTES + 512}:0`, target, '/dev/zero']);
});

test('by default it stops at the first bad sector and names both ways to continue', { skip }, async () => {
  await using folder = await tempDir();
  await using disk = await damagedDisk(BLOCK_BYTES);
  await disk.spoil([[5120, 5632]]);
  await using receiver = await startReceiver({ target: join(folder.path, 'target'), folder: folder.path });
  const sending = await send(receiver, disk.path);
  assert.equal(sending.status, 5);
  assert(
    sending.stderr.endsWith(
      `ddt-send: error: cannot read 512 bytes at offset 5120 of ${disk.path}: ` +
        'input/output error (sector 10)\n' +
        'ddt-send: hint: run the same command again to retry, ' +
        'or with --on-read-error zero to continue: ' +
        'unreadable sectors are then replaced by zeros, and listed\n',
    ),
    sending.stderr,
  );
});

test(
  'with a mapfile only unreadable sectors are read again, after any kill, until the copy is whole',
  { skip },
  async () => {
    await using folder = await tempDir();
    const at = (name: string): string => join(folder.path, name);
    await using disk = await damagedDisk(16 * BLOCK_BYTES);
    await disk.spoil([
      [5 * BLOCK_BYTES + 1024, 5 * BLOCK_BYTES + 1536],
      [11 * BLOCK_BYTES - 512, 11 * BLOCK_BYTES + 512],
    ]);
    // This one really is zeros: once it can be read, only its mark is removed.
    const seek = [`seek=${11 * BLOCK_BYTES}`, 'oflag=seek_bytes', 'conv=notrunc', 'status=none'];
    await runOk('dd', ['if=/dev/zero', `of=${disk.medium}`, 'bs=512', 'count=1', ...seek]);
    const options = ['--mapfile', at('map')];
    await using receiver = await startReceiver({ target: at('target'), folder: folder.path });
    assert.equal((await send(receiver, disk.path, ...options, '--connections', '1')).status, 5);
    assert.deepEqual(await sectorsIn(at('map'), '-'), [5 * 128 + 2]);
    await receiver.end('SIGKILL');
    await receiver.start();
    await killInTheMiddle(receiver, disk, [...options, ...ZERO]);
    assert.equal((await send(receiver, disk.path, ...options, ...ZERO)).status, 3);
    assert.deepEqual(await sectorsIn(at('map'), '-'), [5 * 128 + 2, 11 * 128 - 1, 11 * 128]);
    await receiver.end('SIGKILL');
    await receiver.start();
    await disk.bytesRead();
    await assertUnchanged(receiver, disk, [...options, ...ZERO]);
    await disk.spoil([]);
    await disk.bytesRead();
    const healed = await send(receiver, disk.path, ...options);
    assert.equal(healed.status, 0, healed.stderr);
    assert.match(healed.stdout, /^blocks {3}3 of 16 blocks had changed or were missing and were sent, /m);
    assert.equal(await disk.bytesRead(BLOCK_BYTES), 3 * BLOCK_BYTES);
    await runOk('cmp', [disk.medium, at('target')]);
    assert.deepEqual(await sectorsIn(at('map'), '-'), []);
    assert.equal((await receiver.request('GET', '/receipt')).status, 200);
  },
);

/** kill -9 of the sender while it waits for the last block. */
async function killInTheMiddle(
  receiver: Receiver,
  disk: DamagedDisk,
  options: readonly string[],
): Promise<void> {
  await disk.slow([[15 * BLOCK_BYTES, 16 * BLOCK_BYTES]], 5);
  const places = ['--ticket-file', receiver.ticketFile, ...options, disk.path];
  await using sender = await startSender([...SMALL_BLOCKS, ...places]);
  await until('most blocks', async () => (await receiver.durableCount()) >= 12);
  sender.kill('SIGKILL');
  assert.equal((await sender.ended).signal, 'SIGKILL');
  await disk.slow([], 0);
}

/** Nothing has become readable: seal and receipt stay unchanged but for the date of the last reading. */
async function assertUnchanged(
  receiver: Receiver,
  disk: DamagedDisk,
  options: readonly string[],
): Promise<void> {
  const receiptOf = async (): Promise<Record<string, unknown>> => {
    const { body } = await receiver.request('GET', '/receipt');
    return { ...(JSON.parse(body.toString()) as Record<string, unknown>), verifiedAt: undefined };
  };
  const before = await receiptOf();
  assert.equal((await send(receiver, disk.path, ...options)).status, 3);
  assert.deepEqual(await receiptOf(), before);
}

test('ddrescue resumes with our mapfile on our copy', { skip }, async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await using disk = await damagedDisk(2 * BLOCK_BYTES);
  await disk.spoil([[70_000, 71_000]]);
  await using receiver = await startReceiver({ target: at('target'), folder: folder.path });
  const sending = await send(receiver, disk.path, ...ZERO, '--mapfile', at('map'));
  assert.equal(sending.status, 3, sending.stderr);
  await receiver.end('SIGTERM');
  await disk.spoil([]);
  await disk.bytesRead();
  await ddrescue(['--sector-size=512', '--retry-passes=1'], disk.path, at('target'), at('map'));
  await runOk('cmp', [disk.medium, at('target')]);
  assert((await disk.bytesRead(BLOCK_BYTES)) < 4096);
  assert.deepEqual(await sectorsIn(at('map'), '-'), []);
});

test('areas that ddrescue has read into another file are filled in all the same', { skip }, async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await using disk = await damagedDisk(2 * BLOCK_BYTES);
  await disk.spoil([[70_000, 71_000]]);
  await using receiver = await startReceiver({ target: at('target'), folder: folder.path });
  assert.equal((await send(receiver, disk.path, ...ZERO)).status, 3);
  await disk.spoil([]);
  await ddrescue(['--sector-size=512'], disk.path, at('image'), at('its-map'));
  await disk.bytesRead();
  const sending = await send(receiver, disk.path, '--mapfile', at('its-map'));
  assert.equal(sending.status, 0, sending.stderr);
  await runOk('cmp', [disk.medium, at('target')]);
  assert.equal(await disk.bytesRead(BLOCK_BYTES), BLOCK_BYTES);
});

test('sectors that go bad later do not replace what an earlier run has read', { skip }, async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target');
  await using disk = await damagedDisk(4 * BLOCK_BYTES);
  await disk.spoil([[1024, 1536]]);
  await using receiver = await startReceiver({ target, folder: folder.path });
  assert.equal((await send(receiver, disk.path, ...ZERO)).status, 3);
  // One has become readable, two have gone bad, one of them next to the first.
  await disk.spoil([
    [1536, 2048],
    [2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 512],
  ]);
  const sending = await send(receiver, disk.path, ...ZERO);
  assert.equal(sending.status, 0, sending.stderr);
  assert.match(
    sending.stderr,
    /warning: 512 bytes in 1 area of the source \(\d+\+512\) are unreadable now: /,
  );
  await runOk('cmp', [disk.medium, target]);
});
