/** Pipes: kills while the size is being fixed, and a disk that loses durable blocks. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { blockOf, putByHand } from '../support/by-hand.ts';
import { BLOCK_BYTES, assertCopied, randomSource } from '../support/copied.ts';
import { faultDisk, skipUnlessFaultDisk } from '../support/fault-disk.ts';
import { assertFailed, pipeInto } from '../support/pipelines.ts';
import { bounded, startReceiver, type Receiver } from '../support/processes.ts';
import { run, start } from '../support/run.ts';
import { skipUnlessStrace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCKS = 4;
const TAIL_BYTES = 100;
const SIZE = BLOCKS * BLOCK_BYTES + TAIL_BYTES;

async function claim(receiver: Receiver, size: number | null): Promise<number> {
  const body = { size, blockSize: BLOCK_BYTES, source: { description: 'a pipe' }, stream: true };
  return (await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(body)))).status;
}

/** The receiver is killed at the k-th of these calls from now on. Resolves when strace(1) is attached. */
async function dieAt(
  receiver: Receiver,
  call: string,
  k: number,
  paths: readonly string[],
): Promise<AsyncDisposable> {
  const pid = String(receiver.process.pid);
  const under = paths.map((path) => `--trace-path=${path}`);
  const inject = [`--trace=${call}`, `--inject=${call}:signal=SIGKILL:when=${k}`];
  const tracer = await start('strace', ['-f', '-o', '/dev/null', '-p', pid, ...under, ...inject]);
  await tracer.waitForLine(/attached/);
  return tracer;
}

/** Each change made by the claim with the size: on what, and how often. */
const CHANGES = [
  { call: 'pwrite64', on: 'journal', counts: [1, 2, 3, 4] },
  { call: 'fsync,fdatasync', on: 'journal', counts: [1] },
  { call: 'ftruncate', on: 'target', counts: [1] },
] as const;

for (const { call, on, counts } of CHANGES) {
  for (const k of counts) {
    test(
      `killed at ${call} ${k} on the ${on} while the size is fixed, it resumes`,
      { skip: skipUnlessStrace },
      async (t) => {
        await using folder = await tempDir();
        const target = join(folder.path, 'target');
        const source = await randomSource(folder.path, BLOCKS + 1);
        const bytes = (await readFile(source)).subarray(0, SIZE);
        await using receiver = await startReceiver({ target, folder: folder.path });
        assert.equal(await claim(receiver, null), 201);
        for (let index = 0; index < BLOCKS; index++) {
          assert.equal(await putByHand(receiver, index, blockOf(bytes, index)), 201);
        }
        const journal = join(receiver.stateDir, hash('sha256', target).slice(0, 16), 'journal.db');
        const paths = on === 'target' ? [target] : [journal, `${journal}-wal`];
        await using _tracer = await dieAt(receiver, call, k, paths);
        const fixing = await claim(receiver, SIZE).catch(() => 'killed');
        t.diagnostic(`${fixing}`);
        await receiver.end('SIGKILL');
        await receiver.start();
        const { size } = await receiver.status();
        assert(size === null ? fixing === 'killed' : size === SIZE);
        const length = (await stat(target)).size;
        assert(size === null ? length > SIZE : length === SIZE, `${size} bytes, the file has ${length}`);
        const sending = await pipeInto(receiver, `head -c ${SIZE} "$0"`, source);
        await run('truncate', ['-s', String(SIZE), source]);
        await assertCopied(sending, source, target);
        assert.equal((await stat(target)).size, SIZE);
      },
    );
  }
}

test(
  'a durable block that reads back wrong is named, and sent by the same pipe again',
  { skip: skipUnlessFaultDisk },
  async () => {
    await using folder = await tempDir();
    await using disk = await faultDisk(16 * BLOCK_BYTES);
    const source = await randomSource(folder.path, 16);
    await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
    const from = 5 * BLOCK_BYTES;
    await disk.setFault({ fault: 'drop-lies', times: 1, from, end: from + BLOCK_BYTES });
    const first = await pipeInto(receiver, 'cat "$0"', source);
    const said = assertFailed(first, 6, 'source-spent');
    assert.match(said, /^ddt-send: error: the receiver lost block 5, and a pipe can't be read again$/m);
    assert.match(said, /^ddt-send: hint: run the same pipe again to resume: 1 block is missing$/m);
    await assertCopied(await pipeInto(receiver, 'cat "$0"', source), source, disk.medium);
  },
);

test('a disk that keeps reading back wrong ends it with 5', { skip: skipUnlessFaultDisk }, async () => {
  await using folder = await tempDir();
  await using disk = await faultDisk(16 * BLOCK_BYTES);
  const source = await randomSource(folder.path, 16);
  await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
  await disk.setFault({ fault: 'flip-lies', from: 5 * BLOCK_BYTES, end: 6 * BLOCK_BYTES });
  for (const [status, code] of [
    [6, 'source-spent'],
    [6, 'source-spent'],
    [5, 'verify-failed'],
  ] as const) {
    assertFailed(await bounded('the sender', pipeInto(receiver, 'cat "$0"', source)), status, code);
  }
});
