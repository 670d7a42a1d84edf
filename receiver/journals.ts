/** The journals in a state folder: where they are, and which one belongs to a target. */
import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeFolderDurably } from '../common/io/durable-file.ts';
import { TransferError } from '../common/errors.ts';
import { weakMode, weakOwner } from '../common/io/strict-modes.ts';
import { checkOwnFolder, refuser, stateWriteError } from './identity/state-dir.ts';
import { SqliteJournal } from './journal/sqlite-journal.ts';
import { presentIdentityAt } from './open-target.ts';
import { readPresence } from './presence.ts';
import { isGivenFolder } from './privileges.ts';
import { identityDifference, likenessOf, type Likeness } from './target/target-identity.ts';
import type { FoundTarget } from './target/found-target.ts';
import type { TargetIdentity } from './target/target.ts';
import { recordedIdentity } from './transfer/target-record.ts';

const JOURNAL_NAME = 'journal.db';
/** `ddt-receive --list`, or a receiver that looks for its journal, has another one open for an instant. */
const LOOKS = 5;
const LOOK_AGAIN_MS = 200;

/** The folder is named after the target's path, so that the same command finds the journal again. */
export function journalPathOf(targetPath: string, stateDir: string): string {
  return join(stateDir, hash('sha256', targetPath).slice(0, 16), JOURNAL_NAME);
}

/** Of all targets. @throws the system's error when the folder can't be read. */
export async function journalPathsIn(stateDir: string): Promise<string[]> {
  const names = (await readdir(stateDir)).filter((name) => /^[0-9a-f]{16}$/.test(name)).sort();
  return names.map((name) => join(stateDir, name, JOURNAL_NAME)).filter((path) => existsSync(path));
}

/**
 * Opens or creates a journal and its folder.
 * @throws TransferError `journal-in-use`, `state-refused`, `no-space`, `journal-error`.
 */
export async function openJournal(path: string): Promise<SqliteJournal> {
  const folder = dirname(path);
  try {
    // A journal whose folder is lost in a power cut is lost with it.
    await makeFolderDurably(folder, 0o700);
  } catch (error) {
    throw stateWriteError(dirname(folder), error);
  }
  await refuseWeak(path);
  for (let look = 1; ; look++) {
    try {
      return await SqliteJournal.open(path);
    } catch (error) {
      if (error instanceof TransferError && error.code === 'no-space') throw withoutRoom(error);
      if (!(error instanceof TransferError) || error.code !== 'journal-in-use') throw error;
      const processId = (await readPresence(folder))?.processId;
      if (processId === undefined && look < LOOKS) await delay(LOOK_AGAIN_MS);
      else throw inUse(error, processId);
    }
  }
}

/**
 * Somebody who can write to a journal can make a transfer skip blocks.
 * @throws TransferError `state-refused`.
 */
async function refuseWeak(path: string): Promise<void> {
  const folder = dirname(path);
  const otherwise = `move it away, which starts the transfer over: mv ${folder} ${folder}.old`;
  const refuse = refuser('state-refused', `cannot use the journal folder ${folder}`, otherwise);
  const isGiven = isGivenFolder(await lstat(folder));
  if (!isGiven) await checkOwnFolder(folder, refuse, otherwise);
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  const weakness = weakOwner(path, found) ?? weakMode(path, found);
  if (weakness === undefined) return;
  throw new TransferError('state-refused', `cannot use the journal ${path}: ${weakness.reason}`, {
    hint: weakness.hint,
  });
}

function withoutRoom(error: TransferError): TransferError {
  const hint = 'free some space there, or name another folder with --state-dir';
  return new TransferError('no-space', error.message, { cause: error, hint });
}

function inUse(error: TransferError, processId: number | undefined): TransferError {
  if (processId === undefined) return error;
  const message = `${error.message} (process ${processId})`;
  return new TransferError('journal-in-use', message, {
    cause: error,
    hint: `stop that receiver first: kill ${processId}`,
  });
}

/** What a journal is looked for. */
export type PresentTarget = Pick<FoundTarget, 'identity' | 'isAt'>;

export interface FoundJournal {
  readonly journal: SqliteJournal;
  readonly likeness: Exclude<Likeness, 'different'>;
  /** The name of the target when the transfer began. */
  readonly begunAs: string;
}

/**
 * The journal of this very target that was begun under another name: /dev/vdd for a link in /dev/disk/by-id,
 * a disk that has another letter since the last reboot. Open; the caller closes it.
 * @param exceptPath where the target's present name leads.
 */
export async function findJournalOf(
  present: PresentTarget,
  stateDir: string,
  exceptPath: string,
  identityAt: IdentityAt = presentIdentityAt,
): Promise<FoundJournal | undefined> {
  let best: FoundJournal | undefined;
  for (const path of await journalPathsIn(stateDir)) {
    if (path === exceptPath || best?.likeness === 'same') continue;
    await refuseWeak(path);
    const journal = await SqliteJournal.open(path).catch(ignoreRefusal);
    const recorded = journal === undefined ? undefined : readIdentity(journal);
    const likeness = recorded === undefined ? 'different' : await likenessTo(recorded, present, identityAt);
    if (journal === undefined || recorded === undefined || likeness === 'different') journal?.close();
    else if (likeness === 'same' || best === undefined) {
      best?.journal.close();
      best = { journal, likeness, begunAs: recorded.path };
    } else journal.close();
  }
  return best;
}

/** What is at a path now. */
type IdentityAt = (path: string) => Promise<TargetIdentity | undefined>;

/** A journal in use has its disk in use as well; a damaged one tells nothing. */
function ignoreRefusal(error: unknown): undefined {
  if (!(error instanceof TransferError)) throw error;
}

function readIdentity(journal: SqliteJournal): TargetIdentity | undefined {
  try {
    return recordedIdentity(journal);
  } catch (error) {
    return ignoreRefusal(error);
  }
}

async function likenessTo(
  recorded: TargetIdentity,
  present: PresentTarget,
  identityAt: IdentityAt,
): Promise<Likeness> {
  const likeness = likenessOf(recorded, present.identity, await present.isAt(recorded.path));
  if (likeness !== 'alike') return likeness;
  // The recorded disk is still where it was, so the present one is its twin.
  const there = await identityAt(recorded.path);
  return there !== undefined && identityDifference(recorded, there) === undefined ? 'different' : 'alike';
}

/** Also one that can't be opened. @throws TransferError `state-refused`. */
export async function removeJournal(path: string): Promise<void> {
  const folder = dirname(path);
  try {
    const names = existsSync(folder) ? await readdir(folder) : [];
    for (const name of names) {
      if (name.startsWith(JOURNAL_NAME)) await rm(join(folder, name));
    }
  } catch (error) {
    throw stateWriteError(dirname(folder), error);
  }
}

/** @throws TransferError `journal-in-use`. */
export async function refuseJournalInUse(path: string): Promise<void> {
  if (!existsSync(path)) return;
  try {
    (await openJournal(path)).close();
  } catch (error) {
    if (error instanceof TransferError && error.code === 'journal-in-use') throw error;
  }
}
