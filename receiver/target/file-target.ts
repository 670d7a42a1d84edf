/** A regular file as the target: it is created when absent, and takes the size of the source. */
import { shellWord } from '../../common/text.ts';
import { constants } from 'node:fs';
import { access, lstat, open, readlink, stat, statfs, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { contentOf } from '../../common/disk/disk-content.ts';
import { placesOf } from '../../common/disk/disk-places.ts';
import { creationTimeOf } from '../../common/disk/disks.ts';
import { changeOf, leadsTo, type OpenDisk } from '../../common/disk/open-disk.ts';
import { openDirect } from '../../common/io/direct-io.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import { reopenPathOf } from '../../common/system-tools.ts';
import { formatSize } from '../../common/units.ts';
import { DiskTarget, type DiskHandles } from './disk-target.ts';
import { DiskTools } from './disk-tools.ts';
import type { FoundTarget } from './found-target.ts';
import { lockFile } from './lock-file.ts';
import type { TargetIdentity } from './target.ts';
import { FileMarks } from './write-marks.ts';
import {
  LIST_DISKS,
  changedTarget,
  holdsData,
  identityOf,
  nameOf,
  refusal,
  refuseUnwritable,
  refuseUsed,
} from './target-safety.ts';

/** Unit of `st_blocks`, whatever the file system's own blocks are (inode(7)). */
const STAT_BLOCK_BYTES = 512;

/** An open file that exists, or the place where one is created, with the folder that it is in. */
interface FilePlace extends AsyncDisposable {
  /** As given. */
  readonly path: string;
  readonly folder: FileHandle;
  /** In the folder: at the end of all links. */
  readonly name: string;
  /** undefined: it does not exist yet. */
  readonly disk: OpenDisk | undefined;
}

/**
 * @param opened closed with what is found; @param stateDir holds the journals and keys.
 * @throws TransferError `target-refused`.
 */
export async function findFile(opened: OpenDisk, stateDir: string): Promise<FoundTarget> {
  await using stack = new AsyncDisposableStack();
  const place = stack.use(await writablePlaceOf(opened, stateDir));
  const content = await presentContentOf(opened);
  stack.use(opened);
  const identity = identityOf(opened.description);
  return found(place, stack.move(), { identity, name: nameOf(opened.description), content });
}

/** Where a file is that may be written, whatever it holds. @throws TransferError `target-refused`. */
export async function writablePlaceOf(opened: OpenDisk, stateDir: string): Promise<FilePlace> {
  const { path, realPath } = opened.description;
  if (await isInDev(dirname(realPath))) {
    // Left behind by a command that wrote to a mistyped device name: it is in memory, and gone after a
    // reboot.
    throw refusal(`cannot write to ${path}: it is a regular file in /dev, not a device`, LIST_DISKS);
  }
  await using stack = new AsyncDisposableStack();
  const place = stack.use(await filePlaceOf(opened));
  await refuseInStateDir(path, place.folder, stateDir);
  await refuseUsed(opened, `swapoff ${shellWord(path)}`);
  await refuseUnwritable(opened, `ls -l ${shellWord(path)}`);
  stack.move();
  return place;
}

/** The folder in which the open file is, whatever links led to it. @throws TransferError `target-refused`. */
export async function filePlaceOf(disk: OpenDisk): Promise<FilePlace> {
  const { path, realPath } = disk.description;
  const name = basename(realPath);
  let folder: FileHandle | undefined;
  try {
    folder = await openFolder(dirname(realPath));
    // A file that was deleted or moved since has no such name.
    if (!(await leadsTo(`${reopenPathOf(folder)}/${name}`, disk.handle))) {
      throw changedTarget(path, `that file is not in ${dirname(realPath)} any more`);
    }
  } catch (error) {
    await folder?.close();
    if (error instanceof TransferError) throw error;
    throw refusal(`cannot open the folder of ${path}: ${reasonOf(error)}`, undefined, error);
  }
  const opened = folder;
  return { path, folder, name, disk, [Symbol.asyncDispose]: async () => await opened.close() };
}

/**
 * A path that leads nowhere becomes a file, but never under /dev: a missing name there is a mistyped one.
 * @throws TransferError `target-refused`.
 */
export async function findNewFile(path: string, stateDir: string): Promise<FoundTarget> {
  await using stack = new AsyncDisposableStack();
  const place = await newFilePlaceAt(path).catch(async (error: unknown) => {
    // The mistyped name says more than the folder that can't be opened.
    if (await isInDev(dirname(path))) throw notInDev(path);
    throw error;
  });
  stack.use(place);
  const { folder, name } = place;
  const realFolder = await readlink(reopenPathOf(folder));
  const link = await readlink(`${reopenPathOf(folder)}/${name}`).catch(() => null);
  const end = link === null ? `${realFolder}/` : resolve(realFolder, link);
  if (end.startsWith('/dev/') || (await isInDev(realFolder))) throw notInDev(path);
  await refuseInStateDir(path, folder, stateDir);
  if (link !== null) {
    throw refusal(
      `cannot create ${path}: it is a symbolic link to ${end}, which does not exist`,
      `rm ${shellWord(path)}`,
    );
  }
  await access(reopenPathOf(folder), constants.W_OK | constants.X_OK).catch((error: unknown) => {
    const message = `cannot create ${path}: the folder ${dirname(path)} is not writable: ${reasonOf(error)}`;
    throw refusal(message, undefined, error);
  });
  return found(place, stack.move(), { identity: newFile(path), name: path, content: [] });
}

function newFile(path: string): TargetIdentity {
  const nothing = { model: null, serial: null, wwn: null, byId: null, sizeBytes: null, fileId: null };
  const unborn = { createdAt: null, bootTimeId: null, logicalSectorBytes: 512 };
  return { kind: 'file', path, ...nothing, ...unborn, description: 'regular file' };
}

/** @param path leads nowhere. @throws TransferError `target-refused` without its folder. */
export async function newFilePlaceAt(path: string): Promise<FilePlace> {
  try {
    const folder = await openFolder(dirname(path));
    const close = async (): Promise<void> => await folder.close();
    return { path, folder, name: basename(path), disk: undefined, [Symbol.asyncDispose]: close };
  } catch (error) {
    const isAbsent = errnoOf(error) === 'ENOENT';
    const reason = isAbsent ? `there is no folder ${dirname(path)}` : `${dirname(path)}: ${reasonOf(error)}`;
    const hint = isAbsent ? `mkdir -p ${shellWord(dirname(path))}` : undefined;
    throw refusal(`cannot create ${path}: ${reason}`, hint, error);
  }
}

async function openFolder(path: string): Promise<FileHandle> {
  return await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
}

function notInDev(path: string): TransferError {
  const message = `cannot use ${path}: there is no such device, and no file is ever created under /dev`;
  return refusal(message, LIST_DISKS);
}

/** @param owned what is open. */
function found(
  place: FilePlace,
  owned: AsyncDisposable,
  facts: Pick<FoundTarget, 'identity' | 'name' | 'content'>,
): FoundTarget {
  return {
    ...facts,
    isAbsent: place.disk === undefined,
    isAt: async (path) => place.disk !== undefined && (await leadsTo(path, place.disk.handle)),
    open: async () => {
      const target = await FileTarget.open(place);
      return { target, places: await placesOf({ majorMinor: null, fileId: target.identity.fileId }) };
    },
    [Symbol.asyncDispose]: async () => await owned[Symbol.asyncDispose](),
  };
}

/** Anything but a hole counts as content, with what the signatures say. */
async function presentContentOf(disk: OpenDisk): Promise<string[]> {
  const { sizeBytes } = disk.description;
  if (sizeBytes === 0) return [];
  const signatures = await contentOf(disk);
  // Some file systems count no blocks at all (FUSE, sysfs), so what looks like one hole is read too.
  const { blocks } = await disk.handle.stat();
  const isHole = blocks === 0 && !(await holdsData(disk));
  return isHole ? signatures : [`a regular file of ${formatSize(sizeBytes)}`, ...signatures];
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
 * @param folder in which the target really is.
 */
async function refuseInStateDir(path: string, folder: FileHandle, stateDir: string): Promise<void> {
  const state = await idOf(stateDir);
  if (state === undefined) return;
  for (let at = reopenPathOf(folder), before; ; at += '/..') {
    const id = await idOf(at);
    if (id === state) {
      throw refusal(
        `cannot write to ${path}: it is in the state folder ${stateDir}`,
        'name a file in another folder, or another --state-dir',
      );
    }
    // The root is its own parent.
    if (id === undefined || id === before) return;
    before = id;
  }
}

/** Tells a folder from all others; undefined where there is none. */
async function idOf(folder: string): Promise<string | undefined> {
  const stats = await stat(folder, { bigint: true }).catch(() => undefined);
  return stats && `${stats.dev}:${stats.ino}`;
}

async function openOrCreate({ folder, name, path, disk }: FilePlace): Promise<FileHandle> {
  if (disk !== undefined) return await open(reopenPathOf(disk.handle), constants.O_RDWR);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  return await open(`${reopenPathOf(folder)}/${name}`, flags, 0o600).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error;
    throw changedTarget(path, 'something with this name was created meanwhile');
  });
}

/** Of a refused target nothing is left, unless the name is somebody else's by now. */
async function removeNew({ folder, name }: FilePlace, handle: FileHandle): Promise<void> {
  const path = `${reopenPathOf(folder)}/${name}`;
  try {
    const [there, own] = await Promise.all([lstat(path, { bigint: true }), handle.stat({ bigint: true })]);
    if (there.dev === own.dev && there.ino === own.ino) await unlink(path);
  } catch {
    // It is gone already.
  }
}

export class FileTarget extends DiskTarget {
  readonly isSizeFixed = false;
  readonly sectorBytes = null;
  readonly #file: FileHandle;

  /** How long it was when it was opened; undefined once this process has set its length. */
  #foundBytes: number | undefined;

  /** @param handles of the file that the identity describes; @param sizeBytes how long it is. */
  constructor(identity: TargetIdentity, handles: DiskHandles, sizeBytes: number) {
    super(identity, handles);
    this.#file = handles.buffered;
    this.#foundBytes = sizeBytes;
  }

  /**
   * Opens it again under flock(1), or creates it empty, mode 0600, in the folder that was inspected.
   * @throws TransferError `target-refused`.
   */
  static async open(place: FilePlace): Promise<FileTarget> {
    const { path, folder, disk } = place;
    let buffered: FileHandle | undefined;
    try {
      buffered = await openOrCreate(place);
      if (!(await lockFile(buffered))) {
        throw refusal(`cannot write to ${path}: another process, perhaps another ddt-receive, has locked it`);
      }
      const change = await changeOf(disk?.description ?? { path, sizeBytes: 0 }, buffered);
      if (change !== undefined) throw changedTarget(path, change);
      const direct = await openDirect(buffered, 'read-write');
      // A new file is there after a power cut only when its folder was synced.
      await folder.sync();
      const stats = await buffered.stat({ bigint: true });
      const facts = { fileId: `${stats.dev}:${stats.ino}`, createdAt: await creationTimeOf(stats) };
      const description = disk === undefined ? newFile(path) : identityOf(disk.description);
      const marks = new FileMarks(buffered);
      const handles = { buffered, direct, marks, tools: new DiskTools(buffered) };
      return new FileTarget({ ...description, ...facts }, handles, Number(stats.size));
    } catch (error) {
      if (buffered !== undefined && disk === undefined) await removeNew(place, buffered);
      await buffered?.close();
      if (error instanceof TransferError) throw error;
      throw refusal(`cannot open ${path} for writing: ${reasonOf(error)}`, undefined, error);
    }
  }

  async prepare(sizeBytes: number): Promise<void> {
    try {
      const { size } = await this.#file.stat();
      // Somebody has put something into it since.
      if (this.#foundBytes !== undefined && this.#foundBytes !== size) {
        throw changedTarget(
          this.identity.path,
          `it has ${size} bytes now, and had ${this.#foundBytes} before`,
        );
      }
      if (size !== sizeBytes) await this.#file.truncate(sizeBytes);
      if (size === 0) this.setAllZero(sizeBytes);
      this.#foundBytes = undefined;
    } catch (error) {
      if (error instanceof TransferError) throw error;
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
      const [fs, file] = await Promise.all([statfs(reopenPathOf(this.#file)), this.#file.stat()]);
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
