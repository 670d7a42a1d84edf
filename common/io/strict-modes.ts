/**
 * Who else could read or replace a file, as OpenSSH's StrictModes looks at it (sshd_config(5)). Each finding
 * ends a sentence, and comes with the command that repairs it.
 */
import type { Stats } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface Weakness {
  readonly reason: string;
  readonly hint: string;
}

const GROUP_OR_OTHERS = 0o077;
const WRITE_OF_OTHERS = 0o022;
/** What a group may do with a file of root's: a service reads its key by its group. */
const READ_OF_GROUP = 0o040;
const STICKY = 0o1000;

type Facts = Pick<Stats, 'uid' | 'mode'>;

/** Of a file that belongs to neither this user nor root. */
export function weakOwner(path: string, { uid }: Pick<Stats, 'uid'>): Weakness | undefined {
  const user = process.geteuid?.() ?? 0;
  if (uid === user || uid === 0) return undefined;
  return {
    reason: `it belongs to user ${uid}, and this is user ${user}`,
    hint: `chown ${user} ${path}`,
  };
}

/** Of a secret that others may read or write, or may have. */
export function weakSecret(path: string, { uid, mode }: Facts): Weakness | undefined {
  const isRoots = uid === 0 && process.geteuid?.() !== 0;
  const forbidden = mode & (isRoots ? GROUP_OR_OTHERS & ~READ_OF_GROUP : GROUP_OR_OTHERS);
  if (forbidden === 0) return undefined;
  const what = (forbidden & 0o044) === 0 ? 'write to it' : 'read it';
  return { reason: `others may ${what} (mode ${(mode & 0o777).toString(8)})`, hint: `chmod 600 ${path}` };
}

/** Of a folder or file that others may change. */
export function weakMode(path: string, { mode }: Pick<Stats, 'mode'>): Weakness | undefined {
  return (mode & WRITE_OF_OTHERS) === 0
    ? undefined
    : { reason: 'others may write to it', hint: `chmod go-w ${path}` };
}

/**
 * The first folder, from this one to the root, in which somebody else could put another file or folder in
 * place of ours. A sticky folder, such as /tmp, keeps ours from others. Missing folders are left out.
 */
export async function weakFolderAbove(path: string): Promise<Weakness | undefined> {
  const folder = await realpath(path).catch(() => null);
  if (folder !== null) {
    const stats = await stat(folder);
    const isSticky = (stats.mode & STICKY) !== 0;
    const weakness = weakOwner(folder, stats) ?? (isSticky ? undefined : weakMode(folder, stats));
    if (weakness !== undefined)
      return { ...weakness, reason: `its folder ${folder} is not safe: ${weakness.reason}` };
  }
  const at = folder ?? path;
  return dirname(at) === at ? undefined : await weakFolderAbove(dirname(at));
}
