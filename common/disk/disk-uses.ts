/**
 * Who uses a disk now. No single place in Linux knows: mounts, swap areas, stacked devices, loop devices and
 * open files are each looked at, so that a refusal can name its reason. An exclusive open then finds what
 * none of them showed.
 */
import { constants, readlinkSync } from 'node:fs';
import { open, readlink, stat, type FileHandle } from 'node:fs/promises';
import {
  SYS_FOLDER,
  deviceFolderOf,
  diskFolderOf,
  majorMinorOf,
  namesIn,
  nodeOf,
  partitionFoldersOf,
  readLine,
  readText,
} from './block-devices.ts';
import { errnoOf } from '../errors.ts';
import { reopenPathOf } from '../system-tools.ts';

/** The part of a `DiskDescription` that is needed to find out who uses it. */
export interface DiskToCheck {
  readonly realPath: string;
  readonly fileId: string | null;
  readonly majorMinor: string | null;
  /** Of the disk itself; without it claims are not looked for. */
  readonly handle?: FileHandle;
}

/** Where /sys and /proc are; tests have trees of their own for devices that the machine lacks. */
export interface SystemFolders {
  readonly sys: string;
  readonly proc: string;
}

const SYSTEM: SystemFolders = { sys: SYS_FOLDER, proc: '/proc' };

/** The disk, or what shares its bytes: its partitions, or the disk that a partition belongs to. */
interface Part extends Omit<DiskToCheck, 'realPath' | 'handle'> {
  readonly isDiskItself: boolean;
  readonly node: string;
  /** In sysfs; null for a file. */
  readonly folder: string | null;
}

export type UseKind = 'mounted' | 'mounted-read-only' | 'swap' | 'held' | 'attached' | 'open' | 'claimed';

export interface DiskUse {
  readonly kind: UseKind;
  /** For people: `/dev/sdb2: a swap area in use`. */
  readonly text: string;
  /** The device to detach, where that is what uses it. */
  readonly loopDevice?: string;
}

interface Inquiry {
  readonly parts: readonly Part[];
  readonly system: SystemFolders;
}

/**
 * Every reason why the disk is in use at this moment, none when it is free: `mounted on /boot`, `/dev/sdb2: a
 * swap area in use`, `held by dm-0 (vg-root)`, `attached to /dev/loop3`. Call it before opening the disk: an
 * exclusive open shows as a claim.
 */
export async function usesOf(disk: DiskToCheck, system: SystemFolders = SYSTEM): Promise<DiskUse[]> {
  const inquiry = { parts: await partsOf(disk, system), system };
  const uses = [
    ...(await mountsOf(inquiry)),
    ...(await swapAreasOf(inquiry)),
    ...(await holdersOf(inquiry)),
    ...(await loopDevicesOf(inquiry)),
    ...(await writersOf(inquiry)),
  ];
  const claimed: DiskUse = { kind: 'claimed', text: 'claimed by the kernel or by another program' };
  if (uses.length === 0 && (await isClaimed(disk))) uses.push(claimed);
  return uses.filter(({ text }, at) => uses.findIndex((use) => use.text === text) === at);
}

async function partsOf(
  { realPath, fileId, majorMinor }: DiskToCheck,
  system: SystemFolders,
): Promise<Part[]> {
  const itself = { isDiskItself: true, node: realPath, fileId, majorMinor };
  if (majorMinor === null) return [{ ...itself, folder: null }];
  const folder = await deviceFolderOf(majorMinor, system.sys);
  const parts: Part[] = [{ ...itself, folder }];
  for (const other of [await diskFolderOf(folder), ...(await partitionFoldersOf(folder))]) {
    if (other === folder) continue;
    const part = { node: await nodeOf(other), majorMinor: await readLine(`${other}/dev`) };
    parts.push({ ...part, isDiskItself: false, fileId: null, folder: other });
  }
  return parts;
}

/** The part that a path leads to, whatever its name. */
async function partAt(path: string, { parts }: Inquiry): Promise<Part | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => null);
  // All that is known of a path in another mount namespace, or of a deleted file, is its name.
  if (stats === null) return parts.find((part) => part.node === path);
  const fileId = `${stats.dev}:${stats.ino}`;
  const majorMinor = stats.isBlockDevice() ? majorMinorOf(stats.rdev) : '';
  return parts.find((part) => part.fileId === fileId || part.majorMinor === majorMinor);
}

function say(kind: UseKind, part: Part, use: string): DiskUse {
  return { kind, text: part.isDiskItself ? use : `${part.node}: ${use}` };
}

/** The kernel writes blanks and backslashes in paths as octal (proc_pid_mountinfo(5)). */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

/**
 * proc_pid_mountinfo(5): id, parent, major:minor, root, mount point, …, `-`, type, source, options of the
 * file system.
 */
const MOUNT_LINE = /^\d+ \d+ (\S+) \S+ (\S+) .*? - \S+ (\S*) (\S+)$/;

async function mountsOf(inquiry: Inquiry): Promise<DiskUse[]> {
  const uses = new Map<string, DiskUse>();
  for (const { text, processId } of await mountTables(inquiry.system)) {
    for (const line of text.split('\n')) {
      const [, majorMinor = '', point = '', source = '', options = ''] = MOUNT_LINE.exec(line) ?? [];
      // btrfs and its like have a device number of their own: only the source names the disk.
      const isAnonymous = majorMinor.startsWith('0:') && source.startsWith('/dev/');
      const part = isAnonymous
        ? await partAt(unescaped(source), inquiry)
        : inquiry.parts.find((candidate) => candidate.majorMinor === majorMinor);
      if (part === undefined) continue;
      const kind = options.split(',').includes('ro') ? 'mounted-read-only' : 'mounted';
      const how = kind === 'mounted' ? 'mounted on' : 'mounted read-only on';
      const root = point === '/' ? ' (it holds the running system)' : '';
      const where = processId === null ? root : ` (as process ${processId} sees it)`;
      // Most namespaces repeat the mounts of the first.
      const key = `${part.node} ${point}`;
      if (!uses.has(key)) uses.set(key, say(kind, part, `${how} ${unescaped(point)}${where}`));
    }
  }
  return uses.size > 0 ? [...uses.values()] : btrfsOf(inquiry);
}

/** One table for each mount namespace and root folder (a chroot sees only what is in it), ours first. */
async function mountTables(system: SystemFolders): Promise<{ text: string; processId: string | null }[]> {
  const seen = new Set<string>();
  const tables: { text: string; processId: string | null }[] = [];
  for (const name of ['self', ...(await processesIn(system))]) {
    const folder = `${system.proc}/${name}`;
    const links = [`${folder}/ns/mnt`, `${folder}/root`].map((link) => readlink(link).catch(() => ''));
    const view = (await Promise.all(links)).join(' ');
    const text = seen.has(view) ? null : await readText(`${folder}/mountinfo`);
    if (text === null) continue;
    seen.add(view);
    tables.push({ text, processId: name === 'self' ? null : name });
  }
  return tables;
}

async function processesIn(system: SystemFolders): Promise<string[]> {
  return (await namesIn(system.proc)).filter((name) => /^\d+$/.test(name)).sort((a, b) => +a - +b);
}

/** A btrfs over several disks has only one of them as the source of its mount. */
async function btrfsOf({ parts, system }: Inquiry): Promise<DiskUse[]> {
  const uses: DiskUse[] = [];
  for (const name of await namesIn(`${system.sys}/fs/btrfs`)) {
    for (const device of await namesIn(`${system.sys}/fs/btrfs/${name}/devices`)) {
      const part = parts.find(({ folder }) => folder?.endsWith(`/${device}`));
      if (part !== undefined)
        uses.push(say('mounted', part, `part of the mounted btrfs file system ${name}`));
    }
  }
  return uses;
}

async function swapAreasOf(inquiry: Inquiry): Promise<DiskUse[]> {
  const uses: DiskUse[] = [];
  const [, ...lines] = ((await readText(`${inquiry.system.proc}/swaps`)) ?? '').split('\n');
  for (const line of lines) {
    const part = await partAt(unescaped(line.split(/\s/)[0] ?? ''), inquiry);
    if (part !== undefined) uses.push(say('swap', part, 'a swap area in use'));
  }
  return uses;
}

/** What is stacked on top: device mapper (LVM, LUKS, multipath), RAID arrays, bcache. */
async function holdersOf({ parts, system }: Inquiry): Promise<DiskUse[]> {
  const uses: DiskUse[] = [];
  for (const part of parts.filter(({ folder }) => folder !== null)) {
    for (const holder of await namesIn(`${part.folder}/holders`)) {
      const name = await readLine(`${system.sys}/block/${holder}/dm/name`);
      uses.push(say('held', part, `held by ${holder}${name === null ? '' : ` (${name})`}`));
    }
  }
  return uses;
}

/** Loop devices over the disk or file; of a loop device also the others over the same file. */
async function loopDevicesOf(inquiry: Inquiry): Promise<DiskUse[]> {
  const backingFileOf = async (folder: string): Promise<string | null> =>
    (await readText(`${folder}/loop/backing_file`))?.replace(/\n$/, '') ?? null;
  const ownFolder = inquiry.parts[0]?.folder ?? null;
  const ownFile = ownFolder === null ? null : await backingFileOf(ownFolder);
  const uses: DiskUse[] = [];
  for (const name of (await namesIn(`${inquiry.system.sys}/block`)).filter((it) => it.startsWith('loop'))) {
    const file = await backingFileOf(`${inquiry.system.sys}/block/${name}`);
    if (file === null || ownFolder?.endsWith(`/${name}`)) continue;
    const part = await partAt(file, inquiry);
    const loopDevice = `/dev/${name}`;
    if (part !== undefined) uses.push({ ...say('attached', part, `attached to ${loopDevice}`), loopDevice });
    else if (file === ownFile) {
      const text = `its backing file ${file} is attached to ${loopDevice} too`;
      uses.push({ kind: 'attached', text, loopDevice });
    }
  }
  return uses;
}

/**
 * Programs that write without claiming the disk, such as a virtual machine that was given it; without those
 * that they have started for it.
 */
async function writersOf({ parts, system }: Inquiry): Promise<DiskUse[]> {
  const found: { processId: string; use: DiskUse }[] = [];
  for (const processId of await processesIn(system)) {
    const folder = `${system.proc}/${processId}`;
    if (processId === String(process.pid)) continue;
    for (const descriptor of await namesIn(`${folder}/fd`)) {
      const path = linkAt(`${folder}/fd/${descriptor}`);
      const part = parts.find(({ node }) => node === path);
      if (part === undefined) continue;
      const flags = /^flags:\s*([0-7]+)$/m.exec(
        (await readText(`${folder}/fdinfo/${descriptor}`)) ?? '',
      )?.[1];
      if ((parseInt(flags ?? '0', 8) & (constants.O_WRONLY | constants.O_RDWR)) === 0) continue;
      const name = await readLine(`${folder}/comm`);
      found.push({ processId, use: say('open', part, `open for writing in ${name} (process ${processId})`) });
    }
  }
  const writers = new Set(found.map(({ processId }) => processId));
  const parents = await Promise.all(found.map(async (each) => await parentOf(each.processId, system)));
  return found.filter((_, at) => !writers.has(parents[at] ?? '')).map(({ use }) => use);
}

/** In this thread: through the pool the thousands of a busy server take twenty times as long. */
function linkAt(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

async function parentOf(processId: string, system: SystemFolders): Promise<string | undefined> {
  const status = await readText(`${system.proc}/${processId}/status`);
  return /^PPid:\s*(\d+)$/m.exec(status ?? '')?.[1];
}

/**
 * The kernel lets only one holder open a block device with O_EXCL (open(2)): a mount in a namespace that no
 * process shows, ZFS, another receiver.
 */
async function isClaimed({ majorMinor, handle }: DiskToCheck): Promise<boolean> {
  if (majorMinor === null || handle === undefined) return false;
  try {
    const claim = await open(reopenPathOf(handle), constants.O_RDONLY | constants.O_EXCL);
    await claim.close();
    return false;
  } catch (error) {
    return errnoOf(error) === 'EBUSY';
  }
}
