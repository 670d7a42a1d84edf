/** The folder with the journals and keys: where it is, and whether it can be trusted with them. */
import { constants } from 'node:fs';
import { access, lstat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { makeFolderDurably } from '../../common/io/durable-file.ts';
import { weakFolderAbove, weakMode } from '../../common/io/strict-modes.ts';
import { errnoOf, reasonOf, TransferError } from '../../common/errors.ts';

const HINT_FOLDER = 'name another folder with --state-dir';

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

/**
 * `/var/lib/dd-transfer` for root; otherwise of the XDG base directory specification, where HOME may be unset
 * as it is in services: then the home of the user database counts.
 * @throws TransferError `usage` for a user who has none.
 */
export function defaultStateDir(env: NodeJS.ProcessEnv = process.env): string {
  if (process.geteuid?.() === 0) return '/var/lib/dd-transfer';
  const { XDG_STATE_HOME: base, HOME: home } = env;
  // The specification has relative paths ignored; they would scatter keys over working folders.
  if (base !== undefined && isAbsolute(base)) return join(base, 'dd-transfer');
  const folder = home !== undefined && isAbsolute(home) ? home : homeInUserDatabase();
  return join(folder, '.local', 'state', 'dd-transfer');
}

function homeInUserDatabase(): string {
  try {
    const { homedir } = userInfo();
    if (isAbsolute(homedir)) return homedir;
  } catch {
    // No entry for this user.
  }
  throw new TransferError(
    'usage',
    `cannot tell where to keep journals and keys: HOME is not set, and user ${process.geteuid?.()} ` +
      'has no home directory',
    { hint: 'name a folder: --state-dir /path/to/folder' },
  );
}

/**
 * Creates the folder (and its parents) with mode 0700 when it is absent.
 * @throws TransferError `no-space`; `state-refused` when it can't be written, is a symbolic link, or others
 * could write to it or replace it: they could take over the receiver's identity.
 */
export async function prepareStateDir(path: string): Promise<void> {
  // Without trailing slashes, which would make lstat follow a link.
  const folder = resolve(path);
  const weakness = await weakFolderAbove(dirname(folder));
  if (weakness !== undefined) {
    const refuse = refuser('state-refused', `cannot keep state in ${folder}`, HINT_FOLDER);
    refuse(weakness.reason, `${weakness.hint}, or ${HINT_FOLDER}`);
  }
  const failure: unknown = await makeFolderDurably(folder, 0o700).then(
    () => undefined,
    (error: unknown) => error,
  );
  const exists = await checkStateDir(folder);
  if (!exists || failure !== undefined) throw stateWriteError(folder, failure);
  // A read-only file system, which can't be seen in the mode.
  await access(folder, constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw stateWriteError(folder, error);
  });
}

/** @returns whether it exists. @throws TransferError `state-refused` when it can't be trusted. */
export async function checkStateDir(path: string): Promise<boolean> {
  const folder = resolve(path);
  const refuse = refuser('state-refused', `cannot keep state in ${folder}`, HINT_FOLDER);
  return await checkOwnFolder(folder, refuse, HINT_FOLDER);
}

/**
 * A folder that only this user can change.
 * @param otherwise what else to do than to change its owner.
 * @returns whether it exists. @throws TransferError of `refuse`.
 */
export async function checkOwnFolder(folder: string, refuse: Refuse, otherwise: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined);
  if (found === undefined) return false;
  if (found.isSymbolicLink()) return refuse('it is a symbolic link', otherwise);
  if (!found.isDirectory()) return refuse('it is not a folder');
  const userId = process.geteuid?.();
  if (found.uid !== userId) {
    const hint = `chown ${userId} ${folder}, or ${otherwise}`;
    return refuse(`it belongs to user ${found.uid}, and this is user ${userId}`, hint);
  }
  const weakness = weakMode(folder, found);
  if (weakness !== undefined) return refuse(weakness.reason, weakness.hint);
  return true;
}

/** What to say when a file in the state folder can't be written: `no-space`, or `state-refused`. */
export function stateWriteError(stateDir: string, cause: unknown): TransferError {
  const isFull = ['ENOSPC', 'EDQUOT'].includes(errnoOf(cause) ?? '');
  return new TransferError(
    isFull ? 'no-space' : 'state-refused',
    `cannot write to the state folder ${stateDir}: ${reasonOf(cause)}`,
    { cause, hint: isFull ? `free some space there, or ${HINT_FOLDER}` : HINT_FOLDER },
  );
}
