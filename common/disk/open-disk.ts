/**
 * A disk or file that was opened once. Names change: a link in /dev/disk/by-id is re-pointed, a file is
 * replaced. So whatever is asked about a disk is asked of its descriptor, and other descriptors are made from
 * it; its name is only compared with it.
 */
import { constants, type BigIntStats } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { hintOfPermission, majorMinorOf } from './block-devices.ts';
import {
  LIST_DISKS,
  bootTimeIdOf,
  describeOpened,
  deviceSizeBytesOf,
  type DiskDescription,
} from './disks.ts';
import { TransferError, errnoOf, reasonOf, type ErrorCode } from '../errors.ts';
import { reopenPathOf } from '../system-tools.ts';

/** open(2): finds a file without opening it. Node has no name for it. */
const O_PATH = 0o10000000;

export interface OpenDisk extends AsyncDisposable {
  readonly description: DiskDescription;
  /** For reading. While a device is open the kernel does not give its number to another one. */
  readonly handle: FileHandle;
}

/**
 * Opens an existing block device or regular file for reading and describes it, without reading its content.
 * @throws TransferError `code` when the path is neither, does not exist or can't be read.
 */
export async function openDisk(path: string, code: ErrorCode): Promise<OpenDisk> {
  const absolute = resolve(path);
  let handle: FileHandle | undefined;
  try {
    // What it is must be known before it is opened: that rewinds a tape, and waits for the writer of a pipe.
    await using place = await open(absolute, O_PATH);
    const stats = await place.stat({ bigint: true });
    refuseOtherKinds(absolute, stats, code);
    handle = await openForReading(place, stats);
    const description = await describeOpened({ path: absolute, handle });
    const opened = handle;
    return { description, handle, [Symbol.asyncDispose]: async () => await opened.close() };
  } catch (error) {
    await handle?.close();
    if (error instanceof TransferError) throw error;
    const errno = errnoOf(error) ?? '';
    const isDenied = errno === 'EACCES' || errno === 'EPERM';
    const hint = isDenied ? hintOfPermission() : errno === 'ENOENT' ? { hint: LIST_DISKS } : {};
    throw new TransferError(code, `cannot use ${absolute}: ${reasonOf(error)}`, { cause: error, ...hint });
  }
}

/** As {@link openDisk}, for what is only to be described. */
export async function describeDisk(path: string, code: ErrorCode): Promise<DiskDescription> {
  await using disk = await openDisk(path, code);
  return disk.description;
}

function refuseOtherKinds(path: string, stats: BigIntStats, code: ErrorCode): void {
  if (stats.isBlockDevice() || stats.isFile()) return;
  const other = stats.isDirectory()
    ? 'a directory'
    : stats.isCharacterDevice()
      ? 'a character device'
      : stats.isFIFO()
        ? 'a named pipe'
        : 'a socket';
  const hint = stats.isDirectory() ? { hint: 'name a file in it, or a disk: lsblk lists them' } : {};
  throw new TransferError(code, `cannot use ${path}: it is ${other}, not a disk or a regular file`, hint);
}

async function openForReading(place: FileHandle, stats: BigIntStats): Promise<FileHandle> {
  try {
    return await open(reopenPathOf(place), constants.O_RDONLY);
  } catch (error) {
    const isEmptyDrive = stats.isBlockDevice() && (await deviceSizeBytesOf(majorMinorOf(stats.rdev))) === 0;
    if (!isEmptyDrive) throw error;
    // ENOMEDIUM: it can be described nevertheless.
    return await open(reopenPathOf(place), constants.O_RDONLY | constants.O_NONBLOCK);
  }
}

/** Whether a path leads to the open disk or file now. */
export async function leadsTo(path: string, handle: FileHandle): Promise<boolean> {
  const [there, own] = await Promise.all([
    stat(path, { bigint: true }).catch(() => null),
    handle.stat({ bigint: true }),
  ]);
  if (there === null) return false;
  if (own.isBlockDevice()) return there.isBlockDevice() && there.rdev === own.rdev;
  return there.dev === own.dev && there.ino === own.ino;
}

/** What was known of a disk before, and shown to people. */
export interface KnownDisk {
  readonly path: string;
  /** null: it may have any. */
  readonly sizeBytes: number | null;
  readonly bootTimeId?: string | null;
}

/**
 * What is not as it was, as the end of a sentence; undefined when the name still leads to the open disk, and
 * that has the size and the medium that it had.
 */
export async function changeOf(
  { path, sizeBytes, bootTimeId = null }: KnownDisk,
  handle: FileHandle,
): Promise<string | undefined> {
  const stats = await handle.stat({ bigint: true });
  const majorMinor = stats.isBlockDevice() ? majorMinorOf(stats.rdev) : null;
  if (!(await leadsTo(path, handle))) {
    const errno = await stat(path).then(
      () => undefined,
      (error: unknown) => errnoOf(error) ?? 'unknown',
    );
    const what = majorMinor === null ? 'file' : 'disk';
    if (errno === undefined) return `its name leads to another ${what} now`;
    // In a folder that only root may search, and the receiver is not root any more.
    if (errno !== 'EACCES') return `that ${what} is not there any more`;
  }
  const presentBytes = majorMinor === null ? Number(stats.size) : await deviceSizeBytesOf(majorMinor);
  if (sizeBytes !== null && presentBytes !== sizeBytes) {
    return `it has ${presentBytes} bytes now, and had ${sizeBytes} before`;
  }
  const isSameMedium =
    majorMinor === null || bootTimeId === null || (await bootTimeIdOf(majorMinor)) === bootTimeId;
  return isSameMedium ? undefined : 'another disk or medium has its place now';
}
