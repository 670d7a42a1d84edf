/**
 * Finds the target that a name leads to. The only place that knows the kinds of target: a new one is an
 * adapter in target/ and a line here.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { DiskPlace } from '../common/disk/disk-places.ts';
import { describeDisk, openDisk } from '../common/disk/open-disk.ts';
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
 * Finds out what is there and whether it may be written; changes nothing. The path is resolved here, once.
 * @param stateDir where no target may be.
 * @throws TransferError `target-refused`, with the next command to type as its hint.
 */
export async function findTarget(name: string, stateDir: string): Promise<FoundTarget> {
  const path = targetPathOf(name);
  if (!(await exists(path))) return await findNewFile(path, stateDir);
  const disk = await openDisk(path, 'target-refused');
  try {
    return disk.description.kind === 'device' ? await findDevice(disk) : await findFile(disk, stateDir);
  } catch (error) {
    await disk[Symbol.asyncDispose]();
    throw error;
  }
}

/** What is at a path, whether it may be written or not; undefined when there is no disk or file. */
export async function presentIdentityAt(path: string): Promise<TargetIdentity | undefined> {
  const disk = await describeDisk(path, 'target-refused').catch(() => undefined);
  if (disk === undefined) return undefined;
  return disk.kind === 'device' ? deviceIdentityOf(disk) : identityOf(disk);
}

/** Which disk or file is at a path, whether it may be written or not; undefined when there is none. */
export async function presentPlaceAt(path: string): Promise<DiskPlace | undefined> {
  return await describeDisk(path, 'target-refused').catch(() => undefined);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => errnoOf(error) !== 'ENOENT',
  );
}
