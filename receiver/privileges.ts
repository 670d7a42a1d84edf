/**
 * Gives up the rights of root once everything is open, before the first connection is served: anyone who
 * takes over the server has its targets, their journals and the keys in memory, but no other file,
 * device or process. What would have to be opened again is done by receiver/target/disk-tools.ts.
 */
import { hash, randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { chmod, chown, open, readFile, readdir, unlink, type FileHandle } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { reasonOf } from '../common/errors.ts';

/** systemd gives these user ids to services with `DynamicUser=` (systemd.exec(5)); no person has one. */
const USER_ID_FIRST = 61_184;
const USER_ID_COUNT = 4336;
/**
 * Files can be made in the journal's folder; the journal itself, which is open, belongs to root, and the
 * sticky bit keeps it from being replaced.
 */
const FOLDER_MODE = 0o1770;
/** Replaced while the transfer runs. */
const OWN_FILES = /^(receipt-|receiver\.json)/;

export type Privileges =
  /** They were not those of root. */
  | { readonly outcome: 'none' }
  | { readonly outcome: 'dropped'; readonly userId: number }
  | { readonly outcome: 'kept'; readonly reason: string };

export interface PrivilegeOptions {
  /** Of the journals, one for each transfer. */
  readonly folders: readonly JournalFolder[];
  /** Does with the new rights what the server will do, and throws if it can't. */
  readonly probe: () => Promise<unknown>;
}

export interface JournalFolder {
  readonly path: string;
  /** It is open. */
  readonly folder: FileHandle;
}

/** The folder by its descriptor, which needs no right to the folders above it. */
export function pathOf(folder: FileHandle): string {
  return `/proc/self/fd/${folder.fd}`;
}

export type DropPrivileges = (options: PrivilegeOptions) => Promise<Privileges>;

/** Of this process, for good. */
export async function dropPrivileges({ folders, probe }: PrivilegeOptions): Promise<Privileges> {
  if (process.geteuid?.() !== 0) return { outcome: 'none' };
  const userId = userIdFor(folders.map(({ path }) => path));
  // At the end of the process nobody could write it.
  flushCompileCache();
  try {
    for (const { path } of folders) await giveFolder(path, userId);
    await tryAs(userId, async () => {
      await probe();
      for (const { folder } of folders) {
        const file = join(pathOf(folder), `probe-${randomBytes(6).toString('hex')}`);
        await using _made = await open(file, 'wx');
        await unlink(file);
      }
    });
    becomeUser(userId);
    if (!(await hasNoCapability())) throw new Error('the kernel leaves it the capabilities of root');
    return { outcome: 'dropped', userId };
  } catch (error) {
    return { outcome: 'kept', reason: reasonOf(error) };
  }
}

/** All of it or nothing. */
function becomeUser(userId: number): void {
  const [groups, groupId] = [process.getgroups?.() ?? [], process.getgid?.() ?? 0];
  process.setgroups?.([]);
  try {
    process.setgid?.(userId);
    process.setuid?.(userId);
  } catch (error) {
    process.setgid?.(groupId);
    process.setgroups?.(groups);
    throw error;
  }
}

/** They stay with a process whose securebits say so (capabilities(7)). */
async function hasNoCapability(): Promise<boolean> {
  return /^CapPrm:\s*0+$/m.test(await readFile('/proc/self/status', 'utf8'));
}

/** The same one for the same journals, and for no part of them. */
function userIdFor(paths: readonly string[]): number {
  const digits = hash('sha256', paths.join('\n')).slice(0, 8);
  return USER_ID_FIRST + (Number.parseInt(digits, 16) % USER_ID_COUNT);
}

/** Whether an earlier receiver has given the folder to its user, and nobody else may write to it. */
export function isGivenFolder({ uid, gid, mode }: Pick<Stats, 'uid' | 'gid' | 'mode'>): boolean {
  const isOurs = gid >= USER_ID_FIRST && gid < USER_ID_FIRST + USER_ID_COUNT;
  return uid === 0 && isOurs && (mode & 0o7777) === FOLDER_MODE;
}

async function giveFolder(path: string, userId: number): Promise<void> {
  await chown(path, 0, userId);
  await chmod(path, FOLDER_MODE);
  for (const name of await readdir(path)) {
    if (OWN_FILES.test(name)) await giveFile(join(path, name), userId);
  }
}

/** No link to a file elsewhere, which the last user of the folder may have left there. */
async function giveFile(path: string, userId: number): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch(() => undefined);
  if (file === undefined) return;
  await using own = file;
  const stats = await own.stat();
  if (stats.isFile() && stats.nlink === 1) await own.chown(userId, userId);
}

/** For a moment, in which nothing is opened that others asked for. */
async function tryAs(userId: number, work: () => Promise<void>): Promise<void> {
  try {
    process.setegid?.(userId);
    process.seteuid?.(userId);
    await work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}
