/**
 * Finds the target that a name leads to. The only place that knows the kinds of target: a new one is an
 * adapter in target/ and a line here.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { DiskPlace } from '../common/disk/disk-places.ts';
import { describeDisk, openDisk } from '../common/disk/open-disk.ts';
import { TransferError, errnoOf } from '../common/errors.ts';
import { isNbdUri, parseNbdUri } from '../common/nbd/nbd-uri.ts';
import { chooseFormat, type FormatChoice, type ImageFormat } from '../common/nbd/image-format.ts';
import {
  imageFormatOf,
  isRbdName,
  openImage,
  openRbd,
  openUri,
  refuseFormat,
} from '../common/nbd/open-image.ts';
import { isStoreName, parseStoreName } from '../common/store/store-name.ts';
import { shellWord } from '../common/text.ts';
import { checkedDisk, checkedExport, type CheckedDisk } from './target/checked-disk.ts';
import { deviceIdentityOf, findDevice } from './target/device-target.ts';
import { findFile, findNewFile } from './target/file-target.ts';
import type { FoundTarget } from './target/found-target.ts';
import { findImage, findNbd } from './target/nbd-target.ts';
import type { TargetIdentity } from './target/target.ts';
import { identityOf } from './target/target-safety.ts';

/** What its journal's folder is named after: the same name on the command line finds it again. */
export function targetPathOf(name: string): string {
  if (isNbdUri(name)) return parseNbdUri(name).name;
  if (isStoreName(name)) return parseStoreName(name).name;
  return isRbdName(name) ? name : resolve(name);
}

export interface FindOptions {
  /** `--format`. */
  readonly format: FormatChoice;
  /** Of the target that the journal of this name has begun with. */
  readonly recordedKind: string | undefined;
  /** `--s3-endpoint`. */
  readonly s3Endpoint: string | undefined;
}

const ANY: FindOptions = { format: 'auto', recordedKind: undefined, s3Endpoint: undefined };

/**
 * Finds out what is there and whether it may be written; changes nothing. The path is resolved here, once.
 * @param stateDir where no target may be.
 * @throws TransferError `target-refused`, with the next command to type as its hint.
 */
export async function findTarget(
  name: string,
  stateDir: string,
  { format, recordedKind, s3Endpoint } = ANY,
): Promise<FoundTarget> {
  if (isStoreName(name)) {
    // What it needs takes a moment to load.
    const { findStore } = await import('./target/store-target.ts');
    return await findStore(name, { endpoint: s3Endpoint, environment: process.env });
  }
  if (isNbdUri(name) || isRbdName(name)) {
    refuseFormat(name, format);
    return await findNbd(name);
  }
  const path = targetPathOf(name);
  // A copy of bytes is resumed as such: its first block may make it look like an image.
  const choice = format === 'auto' && recordedKind === 'file' ? 'raw' : format;
  const question = { choice, code: 'target-refused' } as const;
  if (!(await exists(path))) {
    chooseFormat({ ...question, path, found: undefined, make: makeImage(path) });
    return await findNewFile(path, stateDir);
  }
  const disk = await openDisk(path, 'target-refused');
  try {
    if (disk.description.kind === 'device') {
      if (format !== 'raw') refuseFormat(path, format);
      return await findDevice(disk);
    }
    const found = await imageFormatOf(disk, question);
    return found === 'raw' ? await findFile(disk, stateDir) : await findImage(disk, found, stateDir);
  } catch (error) {
    await disk[Symbol.asyncDispose]();
    throw error;
  }
}

/** @returns the command that makes an empty image there. */
function makeImage(path: string): (format: ImageFormat) => string {
  return (format) => `qemu-img create -f ${format} ${shellWord(path)} <size>`;
}

/** For reading only. @throws TransferError `target-refused`, `usage`. */
export async function openToCheck(name: string, choice: FormatChoice): Promise<CheckedDisk> {
  const options = { isWritable: false, code: 'target-refused' } as const;
  if (isStoreName(name)) {
    throw new TransferError('usage', `${name} is a copy in an object store, not a disk`, {
      hint: 'its manifest has its receipt: see docs/guide/object-store.md',
    });
  }
  if (isNbdUri(name) || isRbdName(name)) {
    refuseFormat(name, choice);
    const opened = isNbdUri(name) ? await openUri(name, options) : await openRbd(name, options);
    return checkedExport(opened, opened);
  }
  await using stack = new AsyncDisposableStack();
  const disk = stack.use(await openDisk(name, 'target-refused'));
  const isDevice = disk.description.kind === 'device';
  const format = isDevice ? 'raw' : await imageFormatOf(disk, { choice, code: 'target-refused' });
  if (format === 'raw') {
    stack.move();
    return await checkedDisk(disk);
  }
  const opened = stack.use(await openImage(disk, format, options));
  const owned = stack.move();
  return checkedExport(opened, { [Symbol.asyncDispose]: async () => await owned.disposeAsync() });
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
