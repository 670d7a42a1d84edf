/** The receiver as a whole, in this process, over files: what a restart resumes and what it refuses. */
import assert from 'node:assert/strict';
import { copyFile, open, rename, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { digestNow } from '../../common/digest/digest.ts';
import { blockIndexOf } from '../../common/geometry.ts';
import { claimTransfer } from '../../receiver/transfer/claim.ts';
import { makeLog } from '../../receiver/console/log.ts';
import { startReceiver, type RunningReceiver, type Served } from '../../receiver/start.ts';
import { writeBlock } from '../../receiver/transfer/write-block.ts';
import { coded } from '../support/coded.ts';
import { eventually } from '../support/eventually.ts';
import { BLOCK_BYTES, claimOf, contentOf } from '../support/open-transfer.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCK_COUNT = 4;

async function startOn(
  target: string,
  folder: string,
  { isReadBack = false, onLine = (_line: string): void => {} } = {},
): Promise<Served & Pick<RunningReceiver, 'stop'>> {
  const options = {
    targets: [target],
    stateDir: join(folder, 'state'),
    listenHost: '127.0.0.1',
    listenPort: 0,
    advertise: undefined,
    ticketFile: undefined,
    readTicketFile: undefined,
    allowSigners: undefined,
    format: 'auto',
    s3Endpoint: undefined,
    overwriteTarget: false,
    discardTransfer: false,
    isConfirmed: false,
    isUpdate: false,
    isAdoption: false,
    once: false,
    senderWithinMs: undefined,
    isReadBack,
    maxConnections: 4,
    memoryBytes: 8 * BLOCK_BYTES,
    log: 'text',
    tlsCert: undefined,
    tlsKey: undefined,
    curlHelp: false,
    web: undefined,
    hooks: { onDone: undefined, onTrouble: undefined, troubleAfterMs: 300_000, isBell: false },
  } as const;
  const events = {
    onSealed: () => {},
    onReceipt: () => {},
    onTrouble: () => {},
    onFailed: (error: Error) => assert.fail(error),
  };
  const { served, stop } = await startReceiver(options, {
    clock: systemClock,
    log: makeLog('text', systemClock, onLine),
    // The tests go on in this process.
    dropPrivileges: async () => await Promise.resolve({ outcome: 'none' }),
    events,
  });
  const [one] = served;
  assert(one !== undefined);
  return { ...one, stop };
}

/** Writes all blocks of a new transfer without waiting for a flush. */
async function putAll({ transfer }: Served): Promise<void> {
  await claimTransfer(transfer, claimOf(BLOCK_COUNT));
  const { geometry } = transfer.claimed();
  for (let at = 0; at < BLOCK_COUNT; at++) {
    const bytes = contentOf(transfer.claimed(), at, 1);
    const index = blockIndexOf(at, geometry);
    await writeBlock(transfer, { index, bytes, digest: digestNow(bytes), isFlushed: false });
  }
}

test('a receiver that is stopped flushes what was written, and resumes from there', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const first = await startOn(target, folder.path);
  await putAll(first);
  assert.deepEqual([first.isResumed, first.transfer.status().blocks.durable], [false, 0]);
  await first.stop(0);
  const again = await startOn(target, folder.path);
  const { durable } = again.transfer.status().blocks;
  assert.deepEqual([again.isResumed, durable], [true, BLOCK_COUNT]);
  assert.equal(again.transfer.id, first.transfer.id);
  await again.stop(0);
});

test('it does not resume on a target that holds nothing of the transfer', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const first = await startOn(target, folder.path);
  await putAll(first);
  await first.stop(0);
  const { size } = await stat(target);
  {
    await using file = await open(target, 'r+');
    await file.write(Buffer.alloc(size, 1), 0, size, 0);
  }
  const message = /disk\.img holds nothing of this transfer: all of \d+ sampled blocks differ/;
  await assert.rejects(startOn(target, folder.path), coded('target-refused', { message }));
});

test('a block that another program changed meanwhile is absent and named; others are verified', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const first = await startOn(target, folder.path);
  await putAll(first);
  await first.stop(0);
  {
    await using file = await open(target, 'r+');
    await file.write(Buffer.from([1]), 0, 1, BLOCK_BYTES + 5);
  }
  const lines: string[] = [];
  const again = await startOn(target, folder.path, {
    isReadBack: true,
    onLine: (line) => lines.push(line),
  });
  const { table } = again.transfer.claimed();
  await eventually('it is absent', () => table.stateOf(1) === 'absent');
  await eventually('everything else is verified', () => again.transfer.verifiedCount === BLOCK_COUNT - 1);
  assert.match(
    lines.join(''),
    /block 1 \(offset 65536\) of .*disk\.img is not what was written: another program/,
  );
  await again.stop(0);
});

test('a file that was cut short keeps what is left of it', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const first = await startOn(target, folder.path);
  await putAll(first);
  await first.stop(0);
  await truncate(target, BLOCK_BYTES);
  const again = await startOn(target, folder.path, { isReadBack: true });
  const { table } = again.transfer.claimed();
  await eventually('the rest is absent', () => table.countOf('absent') === BLOCK_COUNT - 1);
  assert.equal(table.isDurable(0), true);
  await again.stop(0);
});

test('it does not resume in another file, even one with the same content', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'disk.img');
  const first = await startOn(target, folder.path);
  await putAll(first);
  await first.stop(0);
  await copyFile(target, `${target}.copy`);
  await rename(`${target}.copy`, target);
  const message = /disk\.img is not the target that this transfer began with: /;
  const hint =
    /^name the right target, or to start over, run .* --discard-transfer --overwrite-target, and --yes /;
  await assert.rejects(startOn(target, folder.path), coded('target-refused', { message, hint }));
});
