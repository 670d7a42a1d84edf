/** Secrets of the receiver, one in a file, made once. */
import { readFile, stat } from 'node:fs/promises';
import { createFileDurably } from '../../common/io/durable-file.ts';
import { errnoOf, reasonOf, TransferError } from '../../common/errors.ts';

const SECRET_MODE = 0o600;

/** Throws a TransferError that names the file or folder. */
export type Refuse = (reason: string, hint?: string) => never;

/**
 * @param what action and object, such as `cannot use the TLS key /x`; @param usualHint where none is given.
 */
export function refuser(code: 'usage' | 'state-refused', what: string, usualHint: string): Refuse {
  return (reason, hint = usualHint) => {
    throw new TransferError(code, `${what}: ${reason}`, { hint });
  };
}

/** The file's text, undefined when there is none. */
export async function readIfThere(path: string, refuse: Refuse): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? undefined : refuse(reasonOf(error), `ls -ld ${path}`);
  }
}

/** As {@link readIfThere}. Like ssh, refuses a secret that others may read: it may have been read. */
export async function readSecret(path: string, refuse: Refuse): Promise<string | undefined> {
  const text = await readIfThere(path, refuse);
  if (text === undefined) return undefined;
  const { mode } = await stat(path).catch((error: unknown) => refuse(reasonOf(error)));
  if ((mode & 0o077) === 0) return text;
  return refuse(`others may read it (mode ${(mode & 0o777).toString(8)})`, `chmod 600 ${path}`);
}

/**
 * Makes the file, mode 0600, durably.
 * @returns what the file holds then: where another receiver was faster, that one's secret.
 */
export async function makeSecret(path: string, text: string, refuse: Refuse): Promise<string> {
  try {
    if (await createFileDurably(path, text, SECRET_MODE)) return text;
  } catch (error) {
    return refuse(`it cannot be written: ${reasonOf(error)}`);
  }
  return (await readSecret(path, refuse)) ?? refuse('it vanished');
}
