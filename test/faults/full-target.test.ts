/** A target whose file system runs full: the sender says so, sends next to nothing, and goes on by itself. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { assertCopied } from '../support/copied.ts';
import { loopDevice, mounted, skipUnlessLoop } from '../support/loop-device.ts';
import { prng } from '../support/prng.ts';
import { MIB, bounded, startReceiver, startSender } from '../support/processes.ts';
import { progressEventsOf } from '../support/progress-events.ts';
import { runOk, type Started } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';
import { skipUnlessTmpfs, tmpfs } from '../support/tmpfs.ts';

const SOURCE_BYTES = 48 * MIB;
const FS_BYTES = 80 * MIB;
const FILLING_BYTES = 50 * MIB;
const BLOCK_BYTES = MIB;
const CONNECTIONS = 8;
/** While the target is full. */
const WATCHED_MS = 15_000;
/** The pauses of the one that tries: 0.5 s at most, 1, 2, 4, 8 s, and never less than a second. */
const TRIALS_MAX = WATCHED_MS / 1000;
/** A pause of a minute at most has begun by then. */
const END_MS_MAX = 90_000;

async function ext4(): Promise<TempDir> {
  await using stack = new AsyncDisposableStack();
  const device = stack.use(await loopDevice(FS_BYTES));
  await runOk('mkfs.ext4', ['-q', '-m', '0', device.path]);
  const { path } = stack.use(await mounted(device.path));
  const owned = stack.move();
  return { path, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

function wireBytes({ stdout }: Started): number {
  const lines = [...stdout.matchAll(/^\{"event":"progress".*"bytesWire":(\d+)/gm)];
  return Number(lines.at(-1)?.[1] ?? 0);
}

async function fillsUp(small: TempDir): Promise<void> {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(7).bytes(SOURCE_BYTES));
  const filling = join(small.path, 'filling');
  await writeFile(filling, prng(8).bytes(FILLING_BYTES));
  const target = join(small.path, 'disk.img');
  await using receiver = await startReceiver({ folder: folder.path, target });
  const options = ['--block-size', '1MiB', '--connections', String(CONNECTIONS), '--progress', 'json'];
  await using sender = await startSender([...options, source, receiver.ticket]);
  await sender.waitForLine(/"event":"waiting","code":"no-space"/);
  // All of them have been refused by now.
  await delay(2000);
  const before = wireBytes(sender);
  await delay(WATCHED_MS);
  const sentBlocks = (wireBytes(sender) - before) / BLOCK_BYTES;
  assert(sentBlocks <= TRIALS_MAX, `${sentBlocks} blocks were sent for nothing`);
  assert.match(sender.stdout.trim().split('\n').at(-1) ?? '', /"event":"waiting","code":"no-space"/);
  await rm(filling);
  const ended = await bounded('the sender', sender.ended, END_MS_MAX);
  await assertCopied(ended, source, target);
  const told = ended.stderr.split('\n').filter((line) => /room/.test(line));
  assert.equal(told.length, 2, ended.stderr);
  assert.match(
    told[0] ?? '',
    /^ddt-send: warning: there is no room at the receiver: .*disk\.img: no space left on/,
  );
  assert.match(told[1] ?? '', /^note {5}there is room at the receiver again, after \d+ s$/);
  const waiting = progressEventsOf(ended.stdout).find(({ event }) => event === 'waiting');
  assert.match(
    String(waiting?.['message']),
    /^waiting for room at the receiver: the receiver says: block \d+/,
  );
}

void suite('a target without room', { concurrency: 2 }, () => {
  test('on tmpfs', { skip: skipUnlessTmpfs }, async () => {
    await using small = await tmpfs(String(FS_BYTES));
    await fillsUp(small);
  });

  test('on ext4', { skip: skipUnlessLoop }, async () => {
    await using small = await ext4();
    await fillsUp(small);
  });
});
