/** The key of those who may watch: made for each run, or kept in a file that programs can read it from. */
import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { TransferError, errnoOf, reasonOf } from '../errors.ts';
import { createFileDurably } from '../io/durable-file.ts';
import { weakOwner, weakSecret } from '../io/strict-modes.ts';

const KEY_BYTES = 24;
const KEY = /^[\w-]{32,256}$/;
const MODE = 0o600;

/**
 * With a file the key stays the same when the command is started again, and a page that is open finds it.
 * @throws TransferError `usage`.
 */
export async function watchKey(file: string | undefined): Promise<string> {
  const made = randomBytes(KEY_BYTES).toString('base64url');
  if (file === undefined) return made;
  try {
    if (await createFileDurably(file, `${made}\n`, MODE)) return made;
    return await readKey(file);
  } catch (error) {
    if (error instanceof TransferError) throw error;
    throw refused(file, errnoOf(error) === undefined ? String(error) : reasonOf(error), `ls -ld ${file}`);
  }
}

async function readKey(file: string): Promise<string> {
  await using handle = await open(file);
  const stats = await handle.stat();
  const weakness = stats.isFile() ? (weakOwner(file, stats) ?? weakSecret(file, stats)) : undefined;
  if (weakness !== undefined) throw refused(file, weakness.reason, weakness.hint);
  const key = (await handle.readFile('utf8')).trim();
  if (!KEY.test(key))
    throw refused(file, 'it is not a key of 32 or more letters, digits, - and _', `rm ${file}`);
  return key;
}

function refused(file: string, why: string, hint: string): TransferError {
  return new TransferError('usage', `cannot use the key for watching in ${file}: ${why}`, { hint });
}
