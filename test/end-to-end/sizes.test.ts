import assert from 'node:assert/strict';
import { open, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { freshSeed, prng } from '../support/prng.ts';
import { KIB, MIB, assertEqualFiles, sendAll, startReceiver } from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = 64 * KIB;
const GIB = 1024 * MIB;
const SIZES = [0, 1, 511, 512, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 777];

for (const sizeBytes of SIZES) {
  test(`a source of ${sizeBytes} bytes arrives equal`, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const source = join(folder.path, 'source');
    const target = join(folder.path, 'target');
    await writeFile(source, prng(seed).bytes(sizeBytes));
    await using receiver = await startReceiver({ folder: folder.path, target });
    const done = await sendAll('--block-size', '64KiB', source, receiver.ticket);
    assert.equal(done.blocksTotal, Math.ceil(sizeBytes / BLOCK));
    assert.equal((await stat(target)).size, sizeBytes);
    await assertEqualFiles(source, target);
  });
}

test('offsets past 4 GiB are right, and a sparse file stays sparse', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  const sizeBytes = 5 * GIB + 4097;
  const random = prng(seed);
  await writeFile(source, '');
  await truncate(source, sizeBytes);
  await using file = await open(source, 'r+');
  // Around the limits of 31 and 32 bits, across a block boundary, at odd offsets, and at the very end.
  const offsets = [0, 2 * GIB - 1, 2 * GIB, 3 * GIB - 5, 4 * GIB - 3, 4 * GIB + 12_345, 5 * GIB - 1];
  for (const offset of [...offsets, sizeBytes - 9]) await file.write(random.bytes(9), 0, 9, offset);
  await file.sync();
  await using receiver = await startReceiver({ folder: folder.path, target });
  const done = await sendAll('--block-size', '1MiB', '--ticket-file', receiver.ticketFile, source);
  assert.equal(done.blocksTotal, 5 * KIB + 1);
  assert.equal(done.blocksSent + done.blocksZero, done.blocksTotal);
  assert(done.blocksSent <= 2 * (offsets.length + 1), `${done.blocksSent} blocks were sent`);
  const { size, blocks } = await stat(target);
  assert.equal(size, sizeBytes);
  assert(blocks * 512 <= 64 * MIB, `the target takes ${blocks * 512} bytes`);
  assert.equal(await sparseDigest(target), await sparseDigest(source));
  await assertEqualPieces(source, target, [0, 2 * GIB - MIB, 4 * GIB - MIB, 4 * GIB, 5 * GIB - MIB]);
});

/**
 * Over all content, without reading holes: cmp(1) takes half a minute for 5 GiB of them. cp(1) turns all
 * zeros into holes, then tar(1) packs the data extents of the kernel, with their offsets.
 */
async function sparseDigest(path: string): Promise<string> {
  const copy = `${path}-copy`;
  await runOk('cp', ['--sparse=always', path, copy]);
  const anonymous = '--transform=s,.*,x, --mtime=@0 --owner=0 --group=0 --mode=600';
  const pack = `tar -C / -c -S --hole-detection=seek ${anonymous} -f - "\${0#/}" | sha256sum`;
  return await runOk('sh', ['-c', pack, copy]);
}

/** sha256sum(1) over two MiB from each offset. */
async function assertEqualPieces(one: string, other: string, offsets: readonly number[]): Promise<void> {
  for (const offset of offsets) {
    const digests = [one, other].map(async (path) => {
      const options = `skip=${offset} count=${2 * MIB} iflag=skip_bytes,count_bytes bs=1M status=none`;
      return await runOk('sh', ['-c', `dd if="$0" ${options} | sha256sum`, path]);
    });
    const [digest, otherDigest] = await Promise.all(digests);
    assert.equal(digest, otherDigest, `at ${offset}`);
  }
}
