import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestNow } from '../../common/digest/digest.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { KIB, MIB, eventsOf, runSender, sendAll, sha256sum, startReceiver } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = 64 * KIB;
const DRY_JSON = ['--dry-run', '--progress', 'json'];

test('a dry run of a new transfer names both disks, reads nothing and claims nothing', async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(9 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const ended = await runSender(['--dry-run', source, receiver.ticket]);
  assert.equal(ended.status, 3, 'nothing is proven');
  assert.match(
    ended.stderr,
    /^source {3}\S+source: regular file, 9 MiB\ntarget {3}\S+target at \S+: regular file, /,
  );
  const what = 'all 36 blocks, 9 MiB, would be read, and sent unless they are zero';
  assert.equal(ended.stdout, `dry run  ${what}; nothing was sent\n`);
  const { stdout } = await runSender([...DRY_JSON, source, receiver.ticket]);
  assert.deepEqual(eventsOf(stdout), [
    {
      event: 'dry-run',
      blocksTotal: 36,
      blocksSkipped: 0,
      blocksToSend: 36,
      blocksZero: null,
      bytesTotal: 9 * MIB,
      isSealed: false,
    },
  ]);
  assert.equal((await receiver.status()).state, 'unclaimed');
});

test('a dry run compares with durable blocks, and with a sealed copy', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  const bytes = prng(seed).bytes(16 * BLOCK);
  bytes.fill(0, 3 * BLOCK, 5 * BLOCK);
  await writeFile(source, bytes);
  await using receiver = await startReceiver({ folder: folder.path, target });
  const claim = { size: bytes.length, blockSize: BLOCK, source: { description: 'a source' } };
  await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  for (const index of [0, 7]) {
    const block = bytes.subarray(index * BLOCK, (index + 1) * BLOCK);
    const digest = digestNow(block).toString('hex');
    const { status } = await receiver.request('PUT', `/blocks/${index}?digest=sha256:${digest}`, block);
    assert.equal(status, 201);
  }
  const before = await sha256sum(target);
  const ended = await runSender(['--dry-run', source, receiver.ticket]);
  assert.equal(ended.status, 3, ended.stderr);
  const what = '14 of 16 blocks would be sent, 2 of them as zeros; 2 are present and equal; nothing was sent';
  assert.equal(ended.stdout, `dry run  ${what}\n`);
  assert.deepEqual([await receiver.durableCount(), await sha256sum(target)], [2, before]);
  await sendAll(source, receiver.ticket);
  const sealed = eventsOf((await runSender([...DRY_JSON, source, receiver.ticket])).stdout).at(-1);
  assert.deepEqual([sealed?.['blocksToSend'], sealed?.['blocksSkipped']], [0, 16]);
  await using file = await open(source, 'r+');
  await file.write(Buffer.from([~(bytes[9 * BLOCK] ?? 0) & 0xff]), 0, 1, 9 * BLOCK);
  const changed = await runSender(['--dry-run', source, receiver.ticket]);
  assert.equal(changed.status, 3);
  assert.match(
    changed.stdout,
    /^dry run {2}1 of 16 blocks would be sent with --update, .*; nothing was sent$/m,
  );
});

test('a dry run is refused for the same reasons as a run', async () => {
  await using folder = await tempDir();
  const [source, other] = [join(folder.path, 'source'), join(folder.path, 'other')];
  await writeFile(source, Buffer.alloc(MIB, 1));
  await writeFile(other, Buffer.alloc(2 * MIB, 1));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  await sendAll(source, receiver.ticket);
  const ended = await runSender(['--dry-run', other, receiver.ticket]);
  assert.equal(ended.status, 4);
  assert.match(ended.stderr, /this target belongs to another transfer: its source has 1048576 bytes/);
});
