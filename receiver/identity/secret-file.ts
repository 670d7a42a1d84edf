/** Secrets of the receiver, one to a file, made once. */
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createFileDurably } from '../../common/io/durable-file.ts';
import { weakOwner, weakSecret } from '../../common/io/strict-modes.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import { stateWriteError, type Refuse } from './state-dir.ts';

const SECRET_MODE = 0o600;

/** The file's text; undefined when there is none. */
export async function readIfThere(path: string, refuse: Refuse): Promise<string | undefined> {
  return await readChecked(path, refuse, async () => await Promise.resolve());
}

/**
 * As {@link readIfThere}. Like ssh, refuses a secret that others may read, for they may have read it, and one
 * that somebody else has put there.
 */
export async function readSecret(path: string, refuse: Refuse): Promise<string | undefined> {
  return await readChecked(path, refuse, async (handle) => {
    const stats = await handle.stat();
    // A folder, and what a shell's <(…) makes.
    if (!stats.isFile()) return;
    const weakness = weakOwner(path, stats) ?? weakSecret(path, stats);
    if (weakness !== undefined) refuse(weakness.reason, weakness.hint);
  });
}

/** @param check of the open file: what is checked is what is read. */
async function readChecked(
  path: string,
  refuse: Refuse,
  check: (handle: FileHandle) => Promise<void>,
): Promise<string | undefined> {
  try {
    await using handle = await open(path);
    await check(handle);
    return await handle.readFile('utf8');
  } catch (error) {
    if (error instanceof TransferError) throw error;
    return errnoOf(error) === 'ENOENT' ? undefined : refuse(reasonOf(error), `ls -ld ${path}`);
  }
}

/**
 * Creates the file, mode 0600, durably.
 * @returns what it holds then: the secret of another receiver where that one was faster.
 * @throws TransferError as {@link stateWriteError}.
 */
export async function makeSecret(path: string, text: string, refuse: Refuse): Promise<string> {
  try {
    if (await createFileDurably(path, text, SECRET_MODE)) return text;
  } catch (error) {
    throw stateWriteError(dirname(path), error);
  }
  return (await readSecret(path, refuse)) ?? refuse('it vanished');
}
