/**
 * More sectors than fit into 32 bits: every offset is exact, by dd(1), without waiting for 2 TiB of zeros.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SlabPool } from '../../common/io/buffers.ts';
import { digestNow } from '../../common/digest/digest.ts';
import { DiskSource } from '../../sender/source/disk-source.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { KIB, MIB, startReceiver } from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const needsLoop = { skip: skipUnlessLoop };
const TIB = 1024 * 1024 * MIB;
/** 2^32 sectors of 512 bytes, and a few. */
const SIZE_BYTES = 2 * TIB + 5 * MIB + 512;

async function sha256At(path: string, offset: number, lengthBytes: number): Promise<string> {
  const options = `skip=${offset} count=${lengthBytes} iflag=skip_bytes,count_bytes bs=64K status=none`;
  return (await runOk('sh', ['-c', `dd if="$0" ${options} | sha256sum`, path])).slice(0, 64);
}

for (const blockBytes of [MIB, 4 * MIB]) {
  test(`blocks of ${blockBytes / KIB} KiB around 2 TiB are where they belong`, needsLoop, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    await using target = await loopDevice(SIZE_BYTES);
    await using receiver = await startReceiver({ folder: folder.path, target: target.path });
    const claim = { size: SIZE_BYTES, blockSize: blockBytes, source: { description: 'a large disk' } };
    assert.equal(
      (await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)))).status,
      201,
    );
    const boundary = (2 * TIB) / blockBytes;
    const last = Math.ceil(SIZE_BYTES / blockBytes) - 1;
    assert.equal((await receiver.status()).blockCount, last + 1);
    const random = prng(seed);
    const digests = new Map<number, string>();
    for (const index of [0, boundary / 2, boundary - 1, boundary, last]) {
      const bytes = random.bytes(Math.min(blockBytes, SIZE_BYTES - index * blockBytes));
      const digest = digestNow(bytes).toString('hex');
      const { status } = await receiver.request('PUT', `/blocks/${index}?digest=sha256:${digest}`, bytes);
      assert.equal(status, 201);
      digests.set(index, digest);
    }
    const zeros = JSON.stringify({ ranges: [[boundary - 3, 2]] });
    assert.equal((await receiver.request('POST', '/zero', Buffer.from(zeros))).status, 200);
    await receiver.end('SIGTERM');
    for (const [index, digest] of digests) {
      const length = Math.min(blockBytes, SIZE_BYTES - index * blockBytes);
      assert.equal(await sha256At(target.path, index * blockBytes, length), digest, `block ${index}`);
    }
    // Nothing was written at the offset that results from truncation to 32 bits.
    const wrapped = last * blockBytes - 2 * TIB;
    const empty = digestNow(Buffer.alloc(512)).toString('hex');
    assert.equal(await sha256At(target.path, wrapped, 512), empty);
    await receiver.start();
    assert.match(receiver.process.stdout, /\d+ of \d+ blocks durable; reading them back\)/);
  });
}

test('a source is read exactly past 2 TiB', needsLoop, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using device = await loopDevice(SIZE_BYTES);
  const bytes = prng(seed).bytes(2 * MIB);
  for (const offset of [2 * TIB - MIB, SIZE_BYTES - 2 * MIB]) {
    const options = [`of=${device.path}`, `seek=${offset}`, 'oflag=seek_bytes', 'bs=64K', 'status=none'];
    await runOk('dd', options, { input: bytes });
    await using source = await DiskSource.open(device.path);
    assert.equal(source.sizeBytes, SIZE_BYTES);
    using slab = await new SlabPool({ slabSizeBytes: 2 * MIB, slabCount: 1 }).take();
    await source.read(slab.bytes, offset);
    assert(slab.bytes.equals(bytes), `at ${offset}`);
  }
});
