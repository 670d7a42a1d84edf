/** `ddt-receive --list`: the transfers of a state folder, running or not. */
import { existsSync } from 'node:fs';
import { stat, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { TransferError, reasonOf } from '../common/errors.ts';
import { checkStateDir } from './identity/state-dir.ts';
import { SqliteJournal } from './journal/sqlite-journal.ts';
import { journalPathsIn } from './journals.ts';
import { readPresence } from './presence.ts';
import { summarizeJournal, type TransferSummary } from './transfer-summary.ts';

export interface ListedTransfer {
  readonly journal: string;
  /** Of the last change of the journal. */
  readonly changedMs: number;
  /** null while no receiver has it open, or where that can't be found out. */
  readonly processId: number | null;
  readonly isInUse: boolean;
  /** undefined where it can't be read: `problem` says why. */
  readonly transfer?: TransferSummary;
  readonly problem?: string;
}

/** @returns the last changed first. @throws TransferError `state-refused`. */
export async function listTransfers(stateDir: string): Promise<ListedTransfer[]> {
  if (!(await checkStateDir(stateDir))) return [];
  const paths = await journalPathsIn(stateDir).catch((cause: unknown) => {
    throw new TransferError('state-refused', `cannot list ${stateDir}: ${reasonOf(cause)}`, { cause });
  });
  const listed = await Promise.all(paths.map(list));
  return listed.sort((a, b) => b.changedMs - a.changedMs);
}

async function list(path: string): Promise<ListedTransfer> {
  const changedMs = Math.max(...(await Promise.all([path, `${path}-wal`].map(changedMsOf))));
  const facts = { journal: path, changedMs, processId: null, isInUse: false };
  const presence = await readPresence(dirname(path));
  if (presence !== undefined) {
    const { processId, transfer } = presence;
    return { ...facts, processId, isInUse: true, transfer };
  }
  try {
    return { ...facts, transfer: await read(path, changedMs) };
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    return { ...facts, isInUse: error.code === 'journal-in-use', problem: error.message };
  }
}

async function read(path: string, changedMs: number): Promise<TransferSummary> {
  // SQLite would create a journal that was removed meanwhile.
  if (!existsSync(path)) throw new TransferError('state-refused', `there is no journal ${path} any more`);
  const journal = await SqliteJournal.open(path);
  try {
    return summarizeJournal(journal);
  } finally {
    journal.close();
    // Opening moves a killed receiver's write-ahead log into the journal, which changes nothing in it.
    await utimes(path, changedMs / 1000, changedMs / 1000).catch(() => {});
  }
}

async function changedMsOf(path: string): Promise<number> {
  return await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}
