/** What a disk is: its size, sectors, model, and whatever tells it from another one. */
import { constants, type BigIntStats } from 'node:fs';
import { access, readlink, stat, type FileHandle } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import {
  askTool,
  deviceFolderOf,
  diskFolderOf,
  majorMinorOf,
  namesIn,
  nodeOf,
  labelOf,
  readLine,
} from './block-devices.ts';
import { reopenPathOf } from '../system-tools.ts';

/** Unknown properties are `null`. */
export interface DiskDescription {
  readonly kind: 'device' | 'file';
  /** The path that was given, made absolute. */
  readonly path: string;
  /** The same with every symbolic link resolved. */
  readonly realPath: string;
  readonly sizeBytes: number;
  /** File: 512. */
  readonly logicalSectorBytes: number;
  readonly model: string | null;
  /** Of a partition: the disk's, followed by `-part2` as udev names it; `wwn` likewise. */
  readonly serial: string | null;
  readonly wwn: string | null;
  /** A link in /dev/disk/by-id: it leads to the same disk after a reboot. */
  readonly byId: string | null;
  /** File: `device:inode`, both decimal. Device: null. */
  readonly fileId: string | null;
  /** File: when it was created; null where that is unknown. Device: null. */
  readonly createdAt: string | null;
  /**
   * Device: names this disk among all that the machine has seen since it was booted, whatever its path.
   * null before Linux 5.15. File: null.
   */
  readonly bootTimeId: string | null;
  /** Device: `8:16`. File: null. */
  readonly majorMinor: string | null;
  /** Device: its read-only flag. File: this process may not write to it. */
  readonly isReadOnly: boolean;
  /** For people: "ATA WDC WD10EZEX", "virtio disk", "regular file". */
  readonly description: string;
}

/** The command that shows which disks there are. */
export const LIST_DISKS = 'lsblk --output PATH,SIZE,MODEL,SERIAL';
const BY_ID_FOLDER = '/dev/disk/by-id';
/** The unit of sysfs, whatever the disk's own sectors (Documentation/ABI/stable/sysfs-block). */
const SYSFS_SECTOR_BYTES = 512;

/** Where an opened disk was found. */
export interface Place {
  /** The path that was given, made absolute. */
  readonly path: string;
  /** The descriptor that everything is asked of. */
  readonly handle: FileHandle;
}

/** @throws the system's errors. */
export async function describeOpened({ path, handle }: Place): Promise<DiskDescription> {
  const stats = await handle.stat({ bigint: true });
  const names = { path, realPath: await readlink(reopenPathOf(handle)) };
  if (stats.isBlockDevice()) return await describeDevice(names, majorMinorOf(stats.rdev));
  const isReadOnly = await access(reopenPathOf(handle), constants.W_OK).then(
    () => false,
    () => true,
  );
  return {
    kind: 'file',
    ...names,
    sizeBytes: Number(stats.size),
    fileId: `${stats.dev}:${stats.ino}`,
    createdAt: await creationTimeOf(stats),
    logicalSectorBytes: 512,
    model: null,
    serial: null,
    wwn: null,
    byId: null,
    majorMinor: null,
    bootTimeId: null,
    isReadOnly,
    description: 'regular file',
  };
}

/**
 * To the nanosecond: it tells a file from a later one with the same inode number. null where the file system
 * or the kernel does not know.
 */
export async function creationTimeOf({ birthtimeNs }: BigIntStats): Promise<string | null> {
  if (birthtimeNs <= 0n || !(await isBirthTimeKnown())) return null;
  const seconds = new Date(Number(birthtimeNs / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(birthtimeNs % 1_000_000_000n).padStart(9, '0')}Z`;
}

/** These change after they are created. */
const OLD_FOLDERS = ['/', '/etc', '/usr', '/var', '/dev'];

/** Without statx(2), which old container runtimes block, libuv gives the time of the last change instead. */
async function isBirthTimeKnown(): Promise<boolean> {
  const stats = await Promise.all(OLD_FOLDERS.map((path) => stat(path, { bigint: true }).catch(() => null)));
  return stats.some((each) => each !== null && each.birthtimeNs !== each.ctimeNs);
}

async function describeDevice(
  names: Pick<DiskDescription, 'path' | 'realPath'>,
  majorMinor: string,
): Promise<DiskDescription> {
  const folder = await deviceFolderOf(majorMinor);
  const diskFolder = await diskFolderOf(folder);
  const disk = await hardwareOf(diskFolder);
  const partition = await readLine(`${folder}/partition`);
  const suffix = suffixOf(partition);
  const description = await describeHardware(diskFolder, disk);
  return {
    kind: 'device',
    ...names,
    // stat(2) gives 0 for every device.
    sizeBytes: await deviceSizeBytesOf(majorMinor),
    // A partition has no queue of its own.
    logicalSectorBytes: Number((await readLine(`${diskFolder}/queue/logical_block_size`)) ?? 512),
    model: disk.model,
    serial: disk.serial && disk.serial + suffix,
    wwn: disk.wwn && disk.wwn + suffix,
    byId: await byIdOf(names.realPath),
    fileId: null,
    createdAt: null,
    bootTimeId: await bootTimeIdOf(majorMinor),
    majorMinor,
    isReadOnly: (await readLine(`${folder}/ro`)) === '1',
    description: partition === null ? description : `partition ${partition} of ${description}`,
  };
}

/** The kernel's number for every disk that appears, which a device node that is used again does not keep. */
export async function bootTimeIdOf(majorMinor: string): Promise<string | null> {
  const folder = await deviceFolderOf(majorMinor).catch(() => null);
  if (folder === null) return null;
  const bootId = await readLine('/proc/sys/kernel/random/boot_id');
  const sequenceNumber = await readLine(`${await diskFolderOf(folder)}/diskseq`);
  if (bootId === null || sequenceNumber === null) return null;
  return `${bootId} ${sequenceNumber}${suffixOf(await readLine(`${folder}/partition`))}`;
}

/** As udev names partitions. */
function suffixOf(partition: string | null): string {
  return partition === null ? '' : `-part${partition}`;
}

/** The kernel's present size; 0 for a device without a medium, or one that is gone. */
export async function deviceSizeBytesOf(majorMinor: string): Promise<number> {
  const folder = await deviceFolderOf(majorMinor).catch(() => null);
  return Number((await readLine(`${folder}/size`)) ?? 0) * SYSFS_SECTOR_BYTES;
}

interface Hardware {
  readonly vendor: string | null;
  readonly model: string | null;
  readonly serial: string | null;
  readonly wwn: string | null;
}

/** What lsblk(8) knows from udev's database; without one, the little that is in sysfs. */
async function hardwareOf(diskFolder: string): Promise<Hardware> {
  const columns = ['--json', '--bytes', '--nodeps', '--output', 'VENDOR,MODEL,SERIAL,WWN'];
  const rows = await askTool('lsblk', [...columns, await nodeOf(diskFolder)], 'blockdevices').catch(() => []);
  const row = rows[0] ?? {};
  const device = `${diskFolder}/device`;
  return {
    vendor: labelOf(row['vendor']) ?? (await readLine(`${device}/vendor`)),
    model: labelOf(row['model']) ?? (await readLine(`${device}/model`)),
    // virtio keeps its serial number beside the disk, NVMe and MMC beside the device.
    serial:
      labelOf(row['serial']) ??
      (await readLine(`${diskFolder}/serial`)) ??
      (await readLine(`${device}/serial`)),
    wwn: labelOf(row['wwn']) ?? (await readLine(`${diskFolder}/wwid`)) ?? (await readLine(`${device}/wwid`)),
  };
}

const DESCRIPTION_OF_NAME: readonly (readonly [RegExp, string])[] = [
  [/^vd/, 'virtio disk'],
  [/^xvd/, 'Xen disk'],
  [/^loop/, 'loop device'],
  [/^zram/, 'compressed memory disk'],
  [/^nbd/, 'network block device'],
  [/^dm-/, 'device-mapper volume'],
  [/^md/, 'Linux RAID array'],
  [/^sr/, 'optical drive'],
  [/^mmcblk/, 'memory card'],
];

async function describeHardware(diskFolder: string, { vendor, model }: Hardware): Promise<string> {
  if (model !== null) {
    // PCI and virtio have numbers for vendors, and some models begin with the vendor's name.
    const isVendorUseful = vendor !== null && !vendor.startsWith('0x') && !model.startsWith(vendor);
    return isVendorUseful ? `${vendor} ${model}` : model;
  }
  const name = basename(diskFolder);
  const words = DESCRIPTION_OF_NAME.find(([pattern]) => pattern.test(name))?.[1] ?? 'block device';
  const detail =
    (await readLine(`${diskFolder}/loop/backing_file`)) ??
    (await readLine(`${diskFolder}/dm/name`)) ??
    (await readLine(`${diskFolder}/device/name`));
  return detail === null ? words : `${words} ${detail}`;
}

async function byIdOf(realPath: string): Promise<string | null> {
  // World-wide names and the like are less readable: they come last.
  const rank = (name: string): number => (/^(wwn|nvme-eui|dm-uuid|lvm-pv-uuid|md-uuid)/.test(name) ? 1 : 0);
  const names = await namesIn(BY_ID_FOLDER);
  for (const name of names.sort((a, b) => rank(a) - rank(b))) {
    const link = await readlink(`${BY_ID_FOLDER}/${name}`).catch(() => '');
    if (resolve(BY_ID_FOLDER, link) === realPath) return `${BY_ID_FOLDER}/${name}`;
  }
  return null;
}
