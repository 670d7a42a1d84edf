/**
 * kill -9 of the receiver at each of its system calls that change anything, one after the other, with
 * DDT_ALL_K=1. That takes minutes; without it a few of them, chosen by the seed.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import {
  BLOCK_BYTES,
  SMALL_BLOCKS,
  assertCopied,
  assertJournalTrue,
  randomSource,
} from '../support/copied.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { doneOf, runSender, startSender, Receiver, type Wrapping } from '../support/processes.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = skipUnlessLoop || skipUnlessStrace;
const BLOCKS = 16;
const IS_COMPLETE = process.env['DDT_ALL_K'] === '1';
/** Of each of the two sweeps, unless it is complete. */
const KILLS = 3;

/** A system call on some files; the receiver is killed at the k-th one. */
interface Deadly {
  readonly call: string;
  readonly on: 'target' | 'journal' | 'anything';
  /** About how often it is made: the maximum of the random k. */
  readonly transferCount: number;
  readonly recoveryCount: number;
}

const CALLS: readonly Deadly[] = [
  { call: 'pwrite64', on: 'target', transferCount: 16, recoveryCount: 0 },
  { call: 'fdatasync', on: 'target', transferCount: 1, recoveryCount: 0 },
  { call: 'pwrite64', on: 'journal', transferCount: 34, recoveryCount: 4 },
  { call: 'fsync', on: 'journal', transferCount: 11, recoveryCount: 2 },
  // The keys, the ticket, the folders.
  { call: 'mkdir', on: 'anything', transferCount: 2, recoveryCount: 2 },
  { call: 'link', on: 'anything', transferCount: 2, recoveryCount: 0 },
  { call: 'unlink', on: 'anything', transferCount: 2, recoveryCount: 1 },
  { call: 'rename', on: 'anything', transferCount: 2, recoveryCount: 1 },
];

interface Place {
  readonly target: string;
  readonly folder: string;
  readonly receiver: Receiver;
}

/** A new disk, a new state folder, and a receiver that is not running yet. */
async function withPlace(work: (place: Place) => Promise<boolean>): Promise<boolean> {
  await using folder = await tempDir();
  await using disk = await loopDevice(BLOCKS * BLOCK_BYTES, { directIo: true });
  await using receiver = new Receiver({ target: disk.path, folder: folder.path });
  return await work({ target: disk.path, folder: folder.path, receiver });
}

function deadly({ call, on }: Deadly, k: number, { folder, target, receiver }: Place): Wrapping {
  // The folder of the journal is named after the target.
  const journal = join(receiver.stateDir, hash('sha256', target).slice(0, 16), 'journal.db');
  const paths = on === 'target' ? [target] : [journal, `${journal}-wal`];
  return strace({
    log: join(folder, 'log'),
    trace: call,
    inject: `${call}:signal=SIGKILL:when=${k}`,
    ...(on === 'anything' ? {} : { paths }),
  });
}

/** @returns whether there was a k-th call. */
type Kill = (what: Deadly, k: number) => Promise<boolean>;

const killDuringTransfer: Kill = async (what, k) =>
  await withPlace(async (place) => {
    const { receiver, target, folder } = place;
    const source = await randomSource(folder, BLOCKS);
    const first = await receiver.spawn(deadly(what, k, place));
    // It may die earlier.
    await receiver.listening().catch(async () => await receiver.start());
    await using sender = await startSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source]);
    await Promise.race([receiver.process.ended, sender.ended]);
    // The transfer is complete; the receiver may still die while it closes its journal.
    receiver.process.kill('SIGTERM');
    const { signal } = await first.ended;
    await receiver.process.ended;
    await assertJournalTrue(receiver.stateDir, target);
    await receiver.start();
    await assertCopied(await sender.ended, source, target);
    await receiver.end('SIGTERM');
    assert.equal((await assertJournalTrue(receiver.stateDir, target)).durable.length, BLOCKS);
    return signal === 'SIGKILL';
  });

/** It was killed with eight blocks durable and four written, and is killed again while it starts or stops. */
const killDuringRecovery: Kill = async (what, k) =>
  await withPlace(async (place) => {
    const { receiver, target, folder } = place;
    const path = await randomSource(folder, BLOCKS);
    const source = await readFile(path);
    await receiver.start();
    await claimByHand(receiver.client, source.length, path);
    for (let at = 0; at < 12; at++) {
      await putByHand(receiver.client, at, blockOf(source, at), at < 8 ? 'y' : 'n');
    }
    await receiver.end('SIGKILL');
    const before = await assertJournalTrue(receiver.stateDir, target);
    assert(before.durable.length >= 8);
    const again = await receiver.spawn(deadly(what, k, place));
    await receiver.listening().then(
      async () => await Promise.race([again.ended, hasReadBack(receiver)]),
      () => {},
    );
    const { signal } = await receiver.end('SIGTERM');
    const after = await assertJournalTrue(receiver.stateDir, target);
    assert.deepEqual(after.durable, before.durable);
    await receiver.start();
    const options = [...SMALL_BLOCKS, '--progress', 'json', '--ticket-file', receiver.ticketFile, path];
    const sending = await runSender(options);
    await assertCopied(sending, path, target);
    assert.equal(doneOf(sending).blocksSkipped, before.durable.length);
    return signal === 'SIGKILL';
  });

/** Resolves when there is nothing left to read back, or nobody to ask. */
async function hasReadBack({ client }: Receiver): Promise<void> {
  for (;;) {
    const status = await client.status().catch(() => null);
    if (status === null || status.blocks.durable === 0) return;
    await delay(5);
  }
}

const SWEEPS = {
  'of a transfer': { kill: killDuringTransfer, count: 'transferCount' },
  'of a recovery': { kill: killDuringRecovery, count: 'recoveryCount' },
} as const;

for (const [when, { kill, count }] of Object.entries(SWEEPS)) {
  if (IS_COMPLETE) {
    for (const what of CALLS) {
      const name = `killed at each ${what.call} on ${what.on} ${when}`;
      test(`${name}, the receiver has listed nothing false`, { skip }, async (context) => {
        let k = 1;
        while (await kill(what, k)) k++;
        context.diagnostic(`${k - 1} kills`);
      });
    }
    continue;
  }
  const name = `killed at system calls ${when}, the receiver has listed nothing that is not there`;
  test(name, { skip }, async (context) => {
    const seed = freshSeed();
    context.diagnostic(`DDT_TEST_SEED=${seed}`);
    const random = prng(seed);
    const calls = CALLS.filter((what) => what[count] > 0);
    for (let kills = 0; kills < KILLS; kills++) {
      // A different call each time.
      const [what] = calls.splice(random.below(calls.length), 1);
      if (what === undefined) break;
      const k = 1 + random.below(what[count]);
      const isKilled = await kill(what, k);
      context.diagnostic(`${what.call} ${k} on ${what.on}${isKilled ? '' : ': never came'}`);
    }
  });
}
