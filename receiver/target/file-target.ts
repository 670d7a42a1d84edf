/** A regular file as the target: it is created when absent, and takes the size of the source. */
import { constants } from 'node:fs';
import { access, open, readlink, realpath, stat, statfs, type FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { contentOf } from '../../common/disk/disk-content.ts';
import { creationTimeOf, type DiskDescription } from '../../common/disk/disks.ts';
import { openDirect } from '../../common/io/direct-io.ts';
import { syncFolder } from '../../common/io/durable-file.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import { DiskTarget, type DiskHandles } from './disk-target.ts';
import { DiskTools } from './disk-tools.ts';
import type { FoundTarget } from './found-target.ts';
import { lockFile } from './lock-file.ts';
import type { TargetIdentity } from './target.ts';
import { FileMarks } from './write-marks.ts';
import {
  LIST_DISKS,
  holdsData,
  identityOf,
  nameOf,
  quoted,
  refusal,
  refuseUnwritable,
  refuseUsed,
} from './target-safety.ts';

/** Unit of `st_blocks`, whatever the file system's own blocks are (inode(7)). */
const STAT_BLOCK_BYTES = 512;

/** @param stateDir holds the journals and keys. @throws TransferError `target-refused`. */
export async function findFile(disk: DiskDescription, stateDir: string): Promise<FoundTarget> {
  const { path } = disk;
  if (await isInDev(dirname(disk.realPath))) {
    // Left behind by a command that wrote to a mistyped device name: it is in memory, and gone after a
    // reboot.
    throw refusal(`cannot write to ${path}: it is a regular file in /dev, not a device`, LIST_DISKS);
  }
  await refuseInStateDir(path, stateDir);
  await refuseUsed(disk, `swapoff ${quoted(path)}`);
  await refuseUnwritable(disk, `ls -l ${quoted(path)}`);
  return found(identityOf(disk), { name: nameOf(disk), content: await presentContentOf(disk) });
}

/**
 * A path that leads nowhere becomes a file, but never under /dev: a missing name there is a mistyped one.
 * @throws TransferError `target-refused`.
 */
export async function findNewFile(path: string, stateDir: string): Promise<FoundTarget> {
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
  await refuseInStateDir(path, stateDir);
  if (link !== null) {
    throw refusal(
      `cannot create ${path}: it is a symbolic link to ${end}, which does not exist`,
      `rm ${quoted(path)}`,
    );
  }
  await access(realFolder, constants.W_OK | constants.X_OK).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') {
      const hint = `mkdir -p ${quoted(folder)}`;
      throw refusal(`cannot create ${path}: there is no folder ${folder}`, hint, error);
    }
    const message = `cannot create ${path}: the folder ${folder} is not writable: ${reasonOf(error)}`;
    throw refusal(message, undefined, error);
  });
  const nothing = { model: null, serial: null, wwn: null, byId: null, sizeBytes: null, fileId: null };
  const unborn = { createdAt: null, bootTimeId: null, logicalSectorBytes: 512 };
  const identity: TargetIdentity = { kind: 'file', path, ...nothing, ...unborn, description: 'regular file' };
  return found(identity, { name: path, content: [], isAbsent: true });
}

function found(
  identity: TargetIdentity,
  facts: { name: string; content: readonly string[]; isAbsent?: boolean },
): FoundTarget {
  return { isAbsent: false, ...facts, identity, open: async () => await FileTarget.open(identity) };
}

/** Anything but a hole counts as content, with what the signatures say. */
async function presentContentOf(disk: DiskDescription): Promise<string[]> {
  if (disk.sizeBytes === 0) return [];
  const signatures = await contentOf(disk.realPath);
  // Some file systems count no blocks at all (FUSE, sysfs), so what looks like one hole is read too.
  const { blocks } = await stat(disk.realPath);
  const isHole = blocks === 0 && !(await holdsData(disk));
  return isHole ? signatures : [`a regular file of ${formatSize(disk.sizeBytes)}`, ...signatures];
}

/**
 * Whether an existing folder is /dev or in it, under this name or where the same file system is mounted
 * again.
 */
async function isInDev(folder: string): Promise<boolean> {
  if (folder === '/dev' || folder.startsWith('/dev/')) return true;
  const devices = await Promise.all([folder, '/dev', '/'].map((path) => stat(path).catch(() => null)));
  const [own, dev, root] = devices.map((stats) => stats?.dev);
  return own !== undefined && own === dev && own !== root;
}

/**
 * A target among journals and keys would overwrite them, or be removed with them. The disk that the state
 * folder is on needs no check: it is mounted, and refused for that.
 */
async function refuseInStateDir(path: string, stateDir: string): Promise<void> {
  const [folder, state] = await Promise.all(
    [dirname(path), stateDir].map(async (each) => await realpath(each).catch(() => each)),
  );
  if (folder !== state && folder?.startsWith(`${state}/`) !== true) return;
  throw refusal(
    `cannot write to ${path}: it is in the state folder ${stateDir}`,
    'name a file in another folder, or another --state-dir',
  );
}

export class FileTarget extends DiskTarget {
  readonly isSizeFixed = false;
  readonly sectorBytes = null;
  readonly #file: FileHandle;

  private constructor(identity: TargetIdentity, handles: DiskHandles) {
    super(identity, handles);
    this.#file = handles.buffered;
  }

  /** Opens it under flock(1), or creates it empty, mode 0600. @throws TransferError `target-refused`. */
  static async open(identity: TargetIdentity): Promise<FileTarget> {
    const { path } = identity;
    let buffered: FileHandle | undefined;
    try {
      buffered = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
      if (!(await lockFile(buffered))) {
        throw refusal(`cannot write to ${path}: another process, perhaps another ddt-receive, has locked it`);
      }
      const direct = await openDirect(path, 'read-write');
      // A new file is there after a power cut only when its folder was synced.
      await syncFolder(dirname(path));
      const stats = await buffered.stat({ bigint: true });
      const fileId = `${stats.dev}:${stats.ino}`;
      return new FileTarget(
        { ...identity, fileId, createdAt: await creationTimeOf(stats) },
        { buffered, direct, marks: new FileMarks(buffered), tools: new DiskTools(buffered) },
      );
    } catch (error) {
      await buffered?.close();
      if (error instanceof TransferError) throw error;
      throw refusal(`cannot open ${path} for writing: ${reasonOf(error)}`, undefined, error);
    }
  }

  async prepare(sizeBytes: number): Promise<void> {
    try {
      const { size } = await this.#file.stat();
      if (size !== sizeBytes) await this.#file.truncate(sizeBytes);
      if (size === 0) this.setAllZero(sizeBytes);
    } catch (error) {
      throw this.writeError(`cannot make ${this.identity.path} ${sizeBytes} bytes long`, error);
    }
  }

  async lengthBytes(): Promise<number> {
    try {
      return (await this.#file.stat()).size;
    } catch (error) {
      throw this.#readError('how long', 'is', error);
    }
  }

  async roomBytes(): Promise<number> {
    try {
      // By its descriptor: there may be no right to its folder any more.
      const path = `/proc/self/fd/${this.#file.fd}`;
      const [fs, file] = await Promise.all([statfs(path), this.#file.stat()]);
      // A file system without a limit has no blocks at all (tmpfs(5), `size=0`).
      if (fs.blocks === 0) return Number.MAX_SAFE_INTEGER;
      return fs.bavail * fs.bsize + file.blocks * STAT_BLOCK_BYTES;
    } catch (error) {
      throw this.#readError('how much room', 'has', error);
    }
  }

  #readError(what: string, verb: string, cause: unknown): TransferError {
    const message = `cannot tell ${what} ${this.identity.path} ${verb}: ${reasonOf(cause)}`;
    return new TransferError('io-error', message, { cause, details: { errno: errnoOf(cause) } });
  }
}
