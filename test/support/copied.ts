/**
 * What a fault may leave behind: a copy that is right on the medium, or a failure that says what is wrong.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkJournal, ddArguments, type JournalCheck } from './journal-check.ts';
import { KIB } from './processes.ts';
import { freshSeed, prng } from './prng.ts';
import { run, type Ended } from './run.ts';

export const BLOCK_BYTES = 64 * KIB;
/** Of the sender; small blocks make many of them. */
export const SMALL_BLOCKS = ['--block-size', '64KiB', '--connections', '4'];

/** A file of random blocks; the same ones for the same seed. */
export async function randomSource(folder: string, blockCount: number, seed = freshSeed()): Promise<string> {
  const path = join(folder, `source-${seed}`);
  await writeFile(path, prng(seed).bytes(blockCount * BLOCK_BYTES));
  return path;
}

/** The source's bytes are the medium's first ones, past the page cache; dd and cmp say so. */
export async function assertOnMedium(source: string, medium: string): Promise<void> {
  const compare = 'source=$1; shift; dd "$@" | cmp -n "$(stat -Lc %s "$source")" "$source" -';
  const reading = await ddArguments(medium);
  const { status, stdout, stderr } = await run('sh', ['-c', compare, 'sh', source, ...reading]);
  assert.equal(status, 0, stdout + stderr);
}

/** Exit 0 and a right copy. */
export async function assertCopied(sending: Ended, source: string, medium: string): Promise<void> {
  assert.deepEqual([sending.status, sending.signal], [0, null], sending.stderr);
  await assertOnMedium(source, medium);
}

/** All that the journal lists is on the medium; to be asked while no receiver runs. */
export async function assertJournalTrue(stateDir: string, medium: string): Promise<JournalCheck> {
  const check = await checkJournal(stateDir, medium);
  assert.deepEqual(check.wrong, [], 'blocks that are listed and are not on the medium');
  return check;
}
