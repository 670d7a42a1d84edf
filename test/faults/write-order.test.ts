/** The order oracle: the system calls and their order, observed from outside. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Receiver } from '../support/processes.ts';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import { BLOCK_BYTES } from '../support/copied.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { mutant, type Mutation } from '../support/mutant.ts';
import { prng } from '../support/prng.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';
import { ORDER_CALLS, callsOf, disorderOf } from '../support/write-order.ts';

const skip = skipUnlessLoop || skipUnlessStrace;
const BLOCKS = 8;
const DURABILITY = 'receiver/durability/durability.ts';

/** Sends eight blocks, then three of them with other bytes. @returns violations of the order. */
async function disorderIn(scripts?: string): Promise<string[]> {
  await using folder = await tempDir();
  await using disk = await loopDevice(BLOCKS * BLOCK_BYTES, { directIo: true });
  // Reading back writes the journal as well, at any time.
  const options = ['--verify', 'none'];
  const place = { target: disk.path, folder: folder.path, options };
  await using receiver = new Receiver(scripts === undefined ? place : { ...place, scripts });
  const log = join(folder.path, 'log');
  await receiver.start(strace({ log, trace: ORDER_CALLS, isTimed: true }));
  const bytes = prng(1).bytes(2 * BLOCKS * BLOCK_BYTES);
  await claimByHand(receiver.client, BLOCKS * BLOCK_BYTES, '/source');
  const first = Array.from({ length: BLOCKS }, (_, index) => ({ index, wasListed: false, status: 201 }));
  const again = [2, 0, 7].map((index) => ({ index, wasListed: true, status: 200 }));
  for (const { index, wasListed, status } of [...first, ...again]) {
    const block = blockOf(bytes, wasListed ? BLOCKS + index : index);
    assert.equal(await putByHand(receiver.client, index, block), status);
  }
  await receiver.end('SIGKILL');
  return disorderOf(callsOf(await readFile(log, 'utf8'), disk.path), [...first, ...again]);
}

test(
  'data is flushed before the journal records it, and the journal before it is reported',
  { skip },
  async () => {
    assert.deepEqual(await disorderIn(), []);
  },
);

test(
  'the folder of a new journal has a name that survives a power cut',
  { skip: skipUnlessStrace },
  async () => {
    await using folder = await tempDir();
    const place = { target: join(folder.path, 'disk.img'), folder: folder.path };
    await using receiver = new Receiver(place);
    const log = join(folder.path, 'log');
    await receiver.start(strace({ log, trace: 'mkdir,fsync', isTimed: true }));
    await receiver.end('SIGKILL');
    const lines = (await readFile(log, 'utf8')).split('\n');
    const made = lines.findLastIndex((line) => line.includes(` mkdir("${receiver.stateDir}/`));
    const synced = lines.findLastIndex((line) => line.includes(`<${receiver.stateDir}>`));
    assert(made >= 0 && synced > made, lines.join('\n'));
  },
);

const FLUSH = '      await this.#target.flush();\n';
const AFTER_JOURNAL = '      for (const { index } of blocks) {\n';
const MUTANTS: Readonly<Record<string, Mutation & { readonly found: RegExp }>> = {
  'journals before it flushes the data': {
    file: DURABILITY,
    edits: [
      [FLUSH, ''],
      [AFTER_JOURNAL, `${FLUSH}${AFTER_JOURNAL}`],
    ],
    found: /journalled before the target was flushed/,
  },
  'never flushes the data': {
    file: DURABILITY,
    edits: [[FLUSH, '']],
    found: /answered before the target was flushed/,
  },
  'does not sync its journal': {
    file: 'receiver/journal/sqlite-journal.ts',
    edits: [['PRAGMA synchronous=FULL', 'PRAGMA synchronous=OFF']],
    found: /answered before the journal was flushed/,
  },
  'answers before the block is durable': {
    file: 'receiver/transfer/write-block.ts',
    edits: [['    await flushTo(open, written', '    void flushTo(open, written']],
    found: /answered before the target was flushed/,
  },
  'overwrites a durable block while the journal lists it': {
    file: DURABILITY,
    edits: [['if (listed.length > 0) this', 'if (listed.length < 0) this']],
    found: /overwritten before the journal forgot it/,
  },
};

for (const [what, mutation] of Object.entries(MUTANTS)) {
  test(`the order oracle detects a receiver that ${what}`, { skip }, async () => {
    await using copy = await mutant(mutation);
    const found = await disorderIn(copy.scripts);
    assert(
      found.some((sentence) => mutation.found.test(sentence)),
      found.join('\n'),
    );
  });
}
