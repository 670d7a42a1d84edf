/**
 * The wrong disk is never written: every reason to refuse a target, found before it is opened. What is looked
 * at can change a moment later; the device target therefore opens exclusively, and the kernel has the last
 * word.
 */
import { constants } from 'node:fs';
import { access, open, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { hintOfPermission } from '../../common/disk/block-devices.ts';
import { contentOf, describeDisk, lastingUsesOf, type DiskDescription } from '../../common/disk/disks.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import type { TargetIdentity } from './target.ts';

export interface TargetInspection {
  /** Of a file that is yet to be created, `fileId` is null: whoever creates it fills it in. */
  readonly identity: TargetIdentity;
  /** What is on it, in words; empty when nothing is known to be. */
  readonly content: readonly string[];
  readonly willCreate: boolean;
}

export interface InspectionOptions {
  /** The operator allows that what is on it is destroyed (`--overwrite-target`). */
  readonly isOverwriteAllowed: boolean;
  /** What is on it is an unfinished transfer that goes on. */
  readonly isResuming: boolean;
}

const LIST_DISKS = 'lsblk --output PATH,SIZE,MODEL,SERIAL,FSTYPE,LABEL,MOUNTPOINTS';
/** A message stays readable; the disk of a busy machine is mounted in hundreds of places. */
const NAMED_REASONS_MAX = 6;
/** Read at the start, at the end and here and there of a disk on which nothing was recognised. */
const SAMPLE_BYTES = 64 * 1024;
const SAMPLE_COUNT = 64;

/**
 * Finds out what `path` is and whether it may be written. Changes nothing.
 * @throws TransferError `target-refused`, saying what is there, with the next command to type as a hint.
 */
export async function inspectTarget(path: string, options: InspectionOptions): Promise<TargetInspection> {
  const absolute = resolve(path);
  if (!(await exists(absolute))) return inspectAbsent(absolute);
  const disk = await describeDisk(absolute, 'target-refused');
  if (disk.kind === 'file' && (await isInDev(dirname(disk.realPath)))) {
    // What once was written to a mistyped device name: it is in memory and gone at the next start.
    throw refusal(`cannot write to ${absolute}: it is a regular file in /dev, not a device`, LIST_DISKS);
  }
  if (disk.kind === 'device' && disk.sizeBytes === 0) {
    throw refusal(`cannot write to ${nameOf(disk)}: no medium is in it`, LIST_DISKS);
  }
  await refuseUsed(disk);
  await refuseUnwritable(disk);
  const content = await presentContentOf(disk);
  if (content.length > 0 && !options.isOverwriteAllowed && !options.isResuming) {
    const present = `cannot write to ${nameOf(disk)}: it is not empty: ${enumerate(content, ', ')}`;
    throw refusal(present, 'add --overwrite-target if all of that may be destroyed');
  }
  return { identity: identityOf(disk), content, willCreate: false };
}

/**
 * What tells two targets apart, as a sentence, or undefined when they are the same as far as can be known.
 * The path does not count: the names of devices change when the machine starts again.
 */
export function sameIdentity(recorded: TargetIdentity, present: TargetIdentity): string | undefined {
  const facts = [
    ['kind', recorded.kind, present.kind],
    ['size in bytes', recorded.sizeBytes, present.sizeBytes],
    ['serial number', recorded.serial, present.serial],
    ['world-wide name', recorded.wwn, present.wwn],
    ['file (device:inode)', recorded.fileId, present.fileId],
  ] as const;
  const difference = facts.find(([, before, now]) => before !== now);
  if (difference === undefined) return undefined;
  const [what, before, now] = difference;
  return `its ${what} was ${before ?? 'unknown'} when the transfer began and is ${now ?? 'unknown'} now`;
}

/** `message` says what is there, `hint` is the next command. */
function refusal(message: string, hint?: string, cause?: unknown): TransferError {
  return new TransferError('target-refused', message, { cause, ...(hint !== undefined && { hint }) });
}

function nameOf(disk: DiskDescription): string {
  return `${disk.path} (${disk.description}, ${formatSize(disk.sizeBytes)})`;
}

function enumerate(reasons: readonly string[], separator: string): string {
  const more = reasons.length - NAMED_REASONS_MAX;
  const named = reasons.slice(0, NAMED_REASONS_MAX).join(separator);
  return more > 0 ? `${named}${separator}and ${more} more` : named;
}

/** The path as a shell takes it, for hints. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => errnoOf(error) !== 'ENOENT',
  );
}

/**
 * Whether an existing folder is /dev or below, under this name or where else the same file system is mounted.
 */
async function isInDev(folder: string): Promise<boolean> {
  if (folder === '/dev' || folder.startsWith('/dev/')) return true;
  const devices = await Promise.all([folder, '/dev', '/'].map((path) => stat(path).catch(() => null)));
  const [own, dev, root] = devices.map((stats) => stats?.dev);
  return own !== undefined && own === dev && own !== root;
}

/** A path that leads nowhere becomes a file, but not one in /dev: there a missing name is a mistyped one. */
async function inspectAbsent(path: string): Promise<TargetInspection> {
  const folder = dirname(path);
  const realFolder = await realpath(folder).catch(() => folder);
  const link = await readlink(path).catch(() => null);
  const end = link === null ? `${realFolder}/` : resolve(realFolder, link);
  if (end.startsWith('/dev/') || (await isInDev(realFolder))) {
    throw refusal(
      `cannot use ${path}: there is no such device, and no file is ever created under /dev`,
      LIST_DISKS,
    );
  }
  if (link !== null) {
    throw refusal(
      `cannot create ${path}: it is a symbolic link to ${end}, which does not exist`,
      `rm ${quoted(path)}`,
    );
  }
  await access(realFolder, constants.W_OK | constants.X_OK).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') {
      throw refusal(
        `cannot create ${path}: there is no folder ${folder}`,
        `mkdir -p ${quoted(folder)}`,
        error,
      );
    }
    throw refusal(
      `cannot create ${path}: the folder ${folder} is not writable: ${reasonOf(error)}`,
      undefined,
      error,
    );
  });
  const nothing = { model: null, serial: null, wwn: null, byId: null, sizeBytes: null, fileId: null };
  const identity: TargetIdentity = {
    kind: 'file',
    path,
    ...nothing,
    logicalSectorBytes: 512,
    description: 'regular file',
  };
  return { identity, content: [], willCreate: true };
}

async function refuseUsed(disk: DiskDescription): Promise<void> {
  const uses = await lastingUsesOf(disk);
  if (uses.length === 0) return;
  const texts = uses.map(({ text }) => text);
  const path = quoted(disk.path);
  const isLoop = uses.some(({ kind }) => kind === 'attached');
  const ofFile = isLoop ? `losetup --associated ${path}` : 'name another target, or end what uses it';
  const hint = disk.kind === 'device' ? `${LIST_DISKS} ${path}` : ofFile;
  throw refusal(`cannot write to ${nameOf(disk)}: it is in use: ${enumerate(texts, '; ')}`, hint);
}

async function refuseUnwritable(disk: DiskDescription): Promise<void> {
  const path = quoted(disk.path);
  if (disk.kind === 'device' && disk.isReadOnly) {
    throw refusal(`cannot write to ${nameOf(disk)}: the device is read-only`, `blockdev --setrw ${path}`);
  }
  await access(disk.realPath, constants.W_OK).catch((error: unknown) => {
    const hint = disk.kind === 'device' ? hintOfPermission()?.hint : `ls -l ${path}`;
    throw refusal(`cannot write to ${nameOf(disk)}: ${reasonOf(error)}`, hint, error);
  });
}

/** What the signatures tell; besides, that a file or a device without one holds anything but zeros. */
async function presentContentOf(disk: DiskDescription): Promise<string[]> {
  if (disk.sizeBytes === 0) return [];
  const signatures = await contentOf(disk.realPath);
  if (disk.kind === 'device') {
    return signatures.length > 0 || !(await holdsData(disk)) ? signatures : ['data of an unknown kind'];
  }
  // Some file systems count no blocks at all (FUSE, sysfs), so what looks like one hole is read too.
  const { blocks } = await stat(disk.realPath);
  const isHole = blocks === 0 && !(await holdsData(disk));
  return isHole ? signatures : [`a regular file of ${formatSize(disk.sizeBytes)}`, ...signatures];
}

/** Whether a sample spread evenly from the first to the last byte has any byte that is not zero. */
async function holdsData(disk: DiskDescription): Promise<boolean> {
  const zeros = Buffer.alloc(SAMPLE_BYTES);
  const sample = Buffer.alloc(SAMPLE_BYTES);
  try {
    await using handle = await open(disk.realPath, constants.O_RDONLY);
    const step = Math.max(SAMPLE_BYTES, (disk.sizeBytes - SAMPLE_BYTES) / (SAMPLE_COUNT - 1));
    for (let at = 0; at < SAMPLE_COUNT; at++) {
      const { bytesRead } = await handle.read(sample, 0, SAMPLE_BYTES, Math.floor(at * step));
      if (!sample.subarray(0, bytesRead).equals(zeros.subarray(0, bytesRead))) return true;
    }
    return false;
  } catch (error) {
    const message = `cannot read ${nameOf(disk)} to see whether it is empty: ${reasonOf(error)}`;
    throw refusal(message, undefined, error);
  }
}

function identityOf(disk: DiskDescription): TargetIdentity {
  const { kind, path, model, serial, wwn, byId, fileId, logicalSectorBytes, description } = disk;
  const sizeBytes = kind === 'device' ? disk.sizeBytes : null;
  return { kind, path, model, serial, wwn, byId, sizeBytes, fileId, logicalSectorBytes, description };
}
