/** Compression changes the bytes on the line and nothing else. */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  eventsOf,
  runSender,
  sendAll,
  startReceiver,
  startSender,
} from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK_BYTES = MIB / 4;
const BLOCK_COUNT = 96;

/** In turn text, zeros, noise, and blocks that are half of each; the last one is short. */
function halfFull(): Buffer {
  const random = prng(seed);
  const text = (index: number): Buffer =>
    Buffer.alloc(BLOCK_BYTES, `line ${index} of a file that repeats itself\n`);
  const blocks = Array.from({ length: BLOCK_COUNT }, (_, index) => {
    if (index % 4 === 0) return Buffer.alloc(BLOCK_BYTES);
    if (index % 4 === 1) return random.bytes(BLOCK_BYTES);
    if (index % 4 === 2) return Buffer.concat([random.bytes(BLOCK_BYTES / 2), Buffer.alloc(BLOCK_BYTES / 2)]);
    return text(index);
  });
  return Buffer.concat([...blocks, text(BLOCK_COUNT).subarray(0, 777)]);
}

test('the target is the same with every setting, and fewer bytes travel', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, halfFull());
  const wire: Record<string, number> = {};
  for (const how of ['none', 'auto', 'zstd', 'zstd:19']) {
    const state = join(folder.path, how.replace(':', '-'));
    await mkdir(state);
    await using receiver = await startReceiver({ folder: state, target });
    const args = ['--compress', how, '--block-size', String(BLOCK_BYTES), source, receiver.ticket];
    wire[how] = (await sendAll(...args)).bytesWire;
    await assertEqualFiles(source, target);
    await rm(target);
  }
  t.diagnostic(JSON.stringify(wire));
  const { none = 0, auto = 0, zstd = 0, 'zstd:19': most = 0 } = wire;
  assert(none > 72 * BLOCK_BYTES);
  // A third of the data is noise, another third is half noise.
  assert(zstd < none * 0.55 && most < none * 0.55);
  assert(auto <= none);
});

test('a transfer can be resumed with another setting', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, halfFull());
  await using receiver = await startReceiver({ folder: folder.path, target });
  for (const how of ['zstd:1', 'none', 'zstd:19']) {
    const args = [
      '--compress',
      how,
      '--bwlimit',
      '4M',
      '--progress',
      'json',
      '--block-size',
      String(BLOCK_BYTES),
    ];
    await using sender = await startSender([...args, source, receiver.ticket]);
    await sender.waitForLine(/"blocksDurable":[1-9]/);
    sender.kill('SIGTERM');
    await sender.ended;
  }
  const ended = await runSender(['--progress', 'json', source, receiver.ticket]);
  assert.equal(ended.status, 0, ended.stderr);
  const done = eventsOf(ended.stdout).at(-1);
  assert(Number(done?.['blocksSkipped']) > 0);
  await assertEqualFiles(source, target);
});
