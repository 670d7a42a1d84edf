/** The file of `--allow-signers`, read once. */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { weakFolderAbove, weakMode, weakOwner } from '../../common/io/strict-modes.ts';
import { printable } from '../../common/text.ts';
import { parseAllowedSigners, type AllowedSigner } from '../../common/trust/allowed-signers.ts';
import { TOKEN_NAMESPACE } from '../../common/trust/token.ts';
import { refuser, type Refuse } from './state-dir.ts';

/** Some hundred keys. What is larger is another file. */
const SIGNERS_BYTES_MAX = 256 * 1024;
const HINT = 'a line is: alice@example.org ssh-ed25519 AAAA…; see ALLOWED SIGNERS in ssh-keygen(1)';

/**
 * At least one. Others must not be able to change the file: who can add a line can write to the target.
 * @throws TransferError `usage`.
 */
export async function loadAllowedSigners(path: string): Promise<readonly AllowedSigner[]> {
  const refuse = refuser('usage', `cannot use the allowed signers in ${path}`, HINT);
  const text = await readSafely(path, refuse);
  const { signers, otherLines } = parseAllowedSigners(text, TOKEN_NAMESPACE, (line, reason) =>
    refuse(`line ${line}: ${printable(reason)}`),
  );
  if (signers.length > 0) return signers;
  return otherLines === 0
    ? refuse('there is no key in it')
    : refuse(`none of its keys may sign for the namespace ${TOKEN_NAMESPACE}`);
}

async function readSafely(path: string, refuse: Refuse): Promise<string> {
  try {
    // A link can be replaced in its folder, and what it leads to in its own.
    for (const name of [resolve(path), await realpath(path)]) {
      const weakness = await weakFolderAbove(dirname(name));
      if (weakness !== undefined) refuse(weakness.reason, weakness.hint);
    }
    await using handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) refuse('it is not a regular file');
    const weakness = weakOwner(path, stats) ?? weakMode(path, stats);
    if (weakness !== undefined) refuse(weakness.reason, weakness.hint);
    if (stats.size > SIGNERS_BYTES_MAX) refuse('it is too large for a list of keys');
    return await handle.readFile('utf8');
  } catch (error) {
    if (error instanceof TransferError) throw error;
    return refuse(reasonOf(error), `ls -ld ${path}`);
  }
}
