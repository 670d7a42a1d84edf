/**
 * Where the bytes of a disk are on this machine, so that a sender notices when its source is the target
 * itself, under another name or as a part of it. Only digests cross the line, salted with the transfer's id:
 * another machine learns nothing from them.
 */
import { hash } from 'node:crypto';
import {
  SYS_FOLDER,
  askTool,
  deviceFolderOf,
  diskFolderOf,
  majorMinorOf,
  namesIn,
  nodeOf,
  readLine,
} from './block-devices.ts';

/** Each place is a name that every process of this machine understands until the next reboot. */
export interface DiskPlaces {
  /** The kernel's random id since the last boot; null where it is unknown. */
  readonly bootId: string | null;
  /** The disk or file; for a loop device its backing file as well. */
  readonly itself: readonly string[];
  /** What it is part of: the disk of a partition, the disks of a volume, the disk that holds a file. */
  readonly within: readonly string[];
}

/** {@link DiskPlaces} on the wire: 64 hexadecimal digits each. */
export interface DiskMarks {
  readonly itself: readonly string[];
  readonly within: readonly string[];
}

export const NO_MARKS: DiskMarks = { itself: [], within: [] };

/** A file on a loop device over a file on a RAID of partitions is four; the limit ends circles. */
const DEPTH_MAX = 8;

/** Of a device its number, of a file its `device:inode`, both as `DiskDescription` has them. */
export interface DiskPlace {
  readonly majorMinor: string | null;
  readonly fileId: string | null;
}

/** What is unknown is left out. */
export async function placesOf({ majorMinor, fileId }: DiskPlace): Promise<DiskPlaces> {
  const itself = new Set<string>();
  const within = new Set<string>();
  const bootId = await readLine('/proc/sys/kernel/random/boot_id');
  if (majorMinor !== null) {
    itself.add(`device ${majorMinor}`);
    const backing = await backingFileOf(majorMinor);
    if (backing !== null) itself.add(`file ${backing.majorMinor} ${backing.inode}`);
    await addBelow(majorMinor, backing, within, 0);
  } else if (fileId !== null) {
    const [device = '', inode] = fileId.split(':');
    const fileSystem = majorMinorOf(BigInt(device));
    itself.add(`file ${fileSystem} ${inode}`);
    await addDevice(fileSystem, within, 0);
  }
  return { bootId, itself: [...itself], within: [...within].filter((place) => !itself.has(place)) };
}

async function addDevice(majorMinor: string, places: Set<string>, depth: number): Promise<void> {
  const place = `device ${majorMinor}`;
  if (places.has(place) || depth > DEPTH_MAX) return;
  places.add(place);
  await addBelow(majorMinor, await backingFileOf(majorMinor), places, depth);
}

/**
 * The disk of a partition, the disks of a volume or array, the file of a loop device and that file's disk.
 */
async function addBelow(
  majorMinor: string,
  backing: BackingFile | null,
  places: Set<string>,
  depth: number,
): Promise<void> {
  // File systems on several disks or in memory have numbers without a device.
  const folder = await deviceFolderOf(majorMinor).catch(() => null);
  if (folder === null) return;
  const below = (await namesIn(`${folder}/slaves`)).map((name) => `${SYS_FOLDER}/class/block/${name}`);
  for (const other of [await diskFolderOf(folder), ...below]) {
    const number = other === folder ? null : await readLine(`${other}/dev`);
    if (number !== null) await addDevice(number, places, depth + 1);
  }
  if (backing === null) return;
  places.add(`file ${backing.majorMinor} ${backing.inode}`);
  await addDevice(backing.majorMinor, places, depth + 1);
}

interface BackingFile {
  readonly majorMinor: string;
  readonly inode: string;
}

/**
 * The file of a loop device by number, because its path may be in another mount namespace, or deleted.
 * @returns null of any other device.
 */
async function backingFileOf(majorMinor: string): Promise<BackingFile | null> {
  const folder = await deviceFolderOf(majorMinor).catch(() => null);
  if (folder === null || (await readLine(`${folder}/loop/backing_file`)) === null) return null;
  const columns = ['--list', '--json', '--output', 'BACK-INO,BACK-MAJ:MIN'];
  const rows = await askTool('losetup', [...columns, await nodeOf(folder)], 'loopdevices').catch(() => []);
  const [inode, device] = [rows[0]?.['back-ino'], rows[0]?.['back-maj:min']];
  // Older versions of util-linux write numbers as strings; all of them pad columns.
  const isKnown = (typeof inode === 'number' || typeof inode === 'string') && typeof device === 'string';
  return isKnown ? { majorMinor: device.trim(), inode: String(inode).trim() } : null;
}

/** None without a boot id: equal device numbers would mean nothing. */
export function marksOf({ bootId, itself, within }: DiskPlaces, transferId: string): DiskMarks {
  if (bootId === null) return NO_MARKS;
  const markOf = (place: string): string => hash('sha256', `${transferId}\n${bootId}\n${place}`);
  return { itself: itself.map(markOf), within: within.map(markOf) };
}

/** `same`: one disk. `part`: ours is part of the other. `whole`: the other is part of ours. */
export function overlapOf(ours: DiskMarks, other: DiskMarks): 'same' | 'part' | 'whole' | undefined {
  if (ours.itself.some((mark) => other.itself.includes(mark))) return 'same';
  if (ours.within.some((mark) => other.itself.includes(mark))) return 'part';
  return other.within.some((mark) => ours.itself.includes(mark)) ? 'whole' : undefined;
}
