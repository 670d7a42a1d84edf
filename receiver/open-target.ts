/**
 * Finds the target that a name leads to. The only place that knows the kinds of target: a new one is an
 * adapter in target/ and a line here.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describeDisk } from '../common/disk/disks.ts';
import { errnoOf } from '../common/errors.ts';
import { deviceIdentityOf, findDevice } from './target/device-target.ts';
import { findFile, findNewFile } from './target/file-target.ts';
import type { FoundTarget } from './target/found-target.ts';
import type { TargetIdentity } from './target/target.ts';
import { identityOf } from './target/target-safety.ts';

/** What its journal's folder is named after: the same name on the command line finds it again. */
export function targetPathOf(name: string): string {
  return resolve(name);
}

/**
 * Finds out what is there and whether it may be written; changes nothing.
 * @param stateDir where no target may be.
 * @throws TransferError `target-refused`, with the next command to type as its hint.
 */
export async function findTarget(name: string, stateDir: string): Promise<FoundTarget> {
  const path = targetPathOf(name);
  if (!(await exists(path))) return await findNewFile(path, stateDir);
  const disk = await describeDisk(path, 'target-refused');
  return disk.kind === 'device' ? await findDevice(disk) : await findFile(disk, stateDir);
}

/** What is at a path, whether it may be written or not; undefined when there is no disk or file. */
export async function presentIdentityAt(path: string): Promise<TargetIdentity | undefined> {
  const disk = await describeDisk(path, 'target-refused').catch(() => undefined);
  if (disk === undefined) return undefined;
  return disk.kind === 'device' ? deviceIdentityOf(disk) : identityOf(disk);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => errnoOf(error) !== 'ENOENT',
  );
}

/** Whether two names lead to one device or file now. */
export async function isSamePlace(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((path) => stat(path).catch(() => null)));
  if (a === null || a === undefined || b === null || b === undefined) return false;
  if (a.isBlockDevice() || b.isBlockDevice()) {
    return a.isBlockDevice() && b.isBlockDevice() && a.rdev === b.rdev;
  }
  return a.dev === b.dev && a.ino === b.ino;
}
