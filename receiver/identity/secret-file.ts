/** Secrets of the receiver, one to a file, made once. */
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createFileDurably } from '../../common/io/durable-file.ts';
import { errnoOf, reasonOf } from '../../common/errors.ts';
import { stateWriteError, type Refuse } from './state-dir.ts';

const SECRET_MODE = 0o600;

/** The file's text; undefined when there is none. */
export async function readIfThere(path: string, refuse: Refuse): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? undefined : refuse(reasonOf(error), `ls -ld ${path}`);
  }
}

/** As {@link readIfThere}. Like ssh, refuses a secret that others may read: they may have read it. */
export async function readSecret(path: string, refuse: Refuse): Promise<string | undefined> {
  const text = await readIfThere(path, refuse);
  if (text === undefined) return undefined;
  const { mode } = await stat(path).catch((error: unknown) => refuse(reasonOf(error)));
  if ((mode & 0o077) === 0) return text;
  return refuse(`others may read it (mode ${(mode & 0o777).toString(8)})`, `chmod 600 ${path}`);
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
