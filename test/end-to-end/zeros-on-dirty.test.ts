/** Sparse sources onto new files and disks full of other data: equal, and little travels. */
import assert from 'node:assert/strict';
import { open, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { MIB, sendAll, startReceiver } from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const GIB = 1024 * MIB;
/** 16 MiB of data in 1 GiB, in parts at odd offsets. */
const SIZE_BYTES = GIB;
const PIECES = 64;
const PIECE_BYTES = 256 * 1024;

async function writeSparse(path: string): Promise<void> {
  await writeFile(path, '');
  await truncate(path, SIZE_BYTES);
  const random = prng(seed);
  await using file = await open(path, 'r+');
  for (let at = 0; at < PIECES; at++) {
    const offset = Math.floor((at * (SIZE_BYTES - PIECE_BYTES)) / (PIECES - 1));
    await file.write(random.bytes(PIECE_BYTES), 0, PIECE_BYTES, offset);
  }
}

/** Sends; only blocks with data travel, and little more. */
async function sendSparse(source: string, target: string, folder: string): Promise<void> {
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder, target, options });
  const place = ['--block-size', '256KiB', '--ticket-file', receiver.ticketFile];
  const done = await sendAll(...place, source);
  assert(done.blocksSent >= PIECES && done.blocksSent <= 2 * PIECES, `${done.blocksSent} blocks were sent`);
  assert.equal(done.blocksSent + done.blocksZero, done.blocksTotal);
  const mostBytes = done.blocksSent * PIECE_BYTES * 1.05 + MIB;
  assert(done.bytesWire < mostBytes, `${done.bytesWire} bytes on the line`);
  assert.equal((await receiver.end('SIGTERM')).status, 0);
  await runOk('cmp', [source, target]);
}

test('a sparse source arrives equal in a new file, which stays as sparse', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeSparse(source);
  await sendSparse(source, target, folder.path);
  assert((await stat(target)).blocks * 512 <= 2 * PIECES * PIECE_BYTES);
});

test('a sparse source arrives equal on a disk full of old data', { skip: skipUnlessLoop }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  await using target = await loopDevice(SIZE_BYTES);
  const source = join(folder.path, 'source');
  await writeSparse(source);
  const fill =
    'head -c "$0" /dev/zero | tr "\\\\0" "\\\\245" | dd of="$1" bs=4M oflag=direct iflag=fullblock';
  await runOk('sh', ['-c', fill, String(SIZE_BYTES), target.path]);
  await sendSparse(source, target.path, folder.path);
});
