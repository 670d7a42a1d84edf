/**
 * `--used-only`: which areas of a disk its file systems do not use. What no map covers is used: partition
 * tables, gaps, volumes, swap, everything that is in use, not clean, or not understood.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { joinAreas, type Area } from '../../common/areas.ts';
import { labelOf } from '../../common/disk/block-devices.ts';
import { meaningOf, signaturesOn, type Signature } from '../../common/disk/disk-content.ts';
import { usesOf } from '../../common/disk/disk-uses.ts';
import type { OpenDisk } from '../../common/disk/open-disk.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { TOOL_FILE } from '../../common/system-tools.ts';
import { formatSize } from '../../common/units.ts';
import { MapfileReader } from '../bad-sectors/mapfile.ts';
import { DOUBTED_TYPES } from './doubted-types.ts';
import { FreeAreas, linesOf } from './domain-mapfile.ts';
import { FILE_SYSTEMS, MissingTool, runOn } from './file-systems.ts';
import { LEFT_OUT_AREAS_MAX, wholePages } from './left-out.ts';
import { overlapsAny, partsOf, type Part } from './partitions.ts';

/**
 * The first and the last of each partition are used whatever its map says: boot sectors, their copies (that
 * of NTFS lies past its clusters, in no map), what RAID and others leave at the ends.
 */
export const ENDS_BYTES = 1024 * 1024;
/** Smaller free areas are copied: leaving them out costs more reads than it saves. */
export const FREE_BYTES_MIN = 64 * 1024;
/** Of a file system with very many extents. */
const MAP_TIMEOUT_MS = 900_000;

export interface UsedOnlyOptions {
  /** Types that are asked for by name. */
  readonly also: readonly string[];
  /** A fact for people. */
  readonly say: (text: string) => void;
}

/** Why all of a part is used, as the end of a sentence. */
interface Used {
  readonly why: string;
}

/**
 * @param disk a block device. @returns areas that need not be copied, joined.
 * @throws TransferError `usage` for a file, and where a program is missing.
 */
export async function freeAreasOf(disk: OpenDisk, { also, say }: UsedOnlyOptions): Promise<Area[]> {
  const { path, majorMinor, sizeBytes } = disk.description;
  if (majorMinor === null) {
    throw new TransferError('usage', `--used-only is for block devices, and ${path} is a file`, {
      hint: `losetup --find --show --read-only --partscan ${path}, and send the device that it prints`,
    });
  }
  await using parts = await partsOf(disk, majorMinor);
  const all: Area[] = [];
  for (const part of parts.all) {
    const found = overlapsAny(part, parts.all)
      ? { why: 'it overlaps another partition' }
      : await freeAreasIn(part, also);
    if ('why' in found) say(`used     ${part.node}: all of it: ${found.why}`);
    else {
      const bytes = found.areas.reduce((sum, [, length]) => sum + length, 0);
      const used = `${formatSize(part.sizeBytes - bytes)} of ${formatSize(part.sizeBytes)}`;
      say(`used     ${part.node}: ${used}, as the map of its ${found.type} file system says`);
      for (const [offset, length] of found.areas) all.push([part.offset + offset, length]);
    }
  }
  return wholePages(joinAreas(all), sizeBytes);
}

async function freeAreasIn(
  part: Part,
  also: readonly string[],
): Promise<Used | { readonly type: string; readonly areas: readonly Area[] }> {
  try {
    const [use] = await usesOf({ ...part, realPath: part.node, fileId: null });
    if (use !== undefined) return { why: use.text };
    const found = fileSystemIn(await signaturesOn(part.handle, part.node), part);
    if (typeof found !== 'string') return found;
    const fileSystem = FILE_SYSTEMS[found];
    if (fileSystem === undefined) return { why: `of ${found} there is no map` };
    if (DOUBTED_TYPES.includes(found) && !also.includes(found)) {
      return { why: `maps of ${found} have been wrong: --map-also ${found} takes them nevertheless` };
    }
    const why = await fileSystem.uncleanness(part.handle);
    if (why !== undefined) return { why: `its ${found} file system ${why}` };
    return { type: found, areas: await mapOf(part, fileSystem.partclone) };
  } catch (error) {
    if (error instanceof MissingTool) {
      throw new TransferError('usage', `cannot find out what ${part.node} uses: ${error.message}`, {
        hint: `apt-get install ${error.debianPackage}, or leave --used-only out`,
        cause: error,
      });
    }
    return { why: `there is no map of it: ${reasonOf(error)}` };
  }
}

/** @returns the type of the only file system; or why there is none. */
function fileSystemIn(signatures: readonly Signature[], { isWholeDisk }: Part): string | Used {
  // A boot sector of NTFS or FAT can look like a partition table.
  const others = signatures.filter(({ usage }) => usage !== 'partition-table');
  const [first, ...more] = others;
  if (first === undefined) {
    const [table] = signatures;
    if (table === undefined) return { why: 'nothing that is known is on it' };
    if (!isWholeDisk) return { why: `it is a ${table.type} partition table` };
    return { why: `it has a ${table.type} partition table whose partitions the kernel does not know` };
  }
  if (more.length > 0) return { why: `it has several signatures: ${others.map(nameOf).join(', ')}` };
  if (first.usage !== 'filesystem') return { why: `it is ${meaningOf(first.type)}` };
  if (isWholeDisk && signatures.length > 1 && first.type !== 'ntfs' && first.type !== 'vfat') {
    return { why: `it has a partition table beside a file system: ${signatures.map(nameOf).join(', ')}` };
  }
  return first.type;
}

function nameOf({ type }: Signature): string {
  return type;
}

/** @throws MissingTool, Error with a reason. @returns free areas, ascending and apart. */
async function mapOf(part: Part, partclone: string): Promise<readonly Area[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ddt-map-'));
  try {
    const map = join(folder, 'map');
    const args = ['--domain', '--source', TOOL_FILE, '--output', map, '--logfile', '/dev/null', '--quiet'];
    const tool = [partclone, 'partclone'] as const;
    const { isDone, complaint } = await runOn(part.handle, tool, args, MAP_TIMEOUT_MS);
    if (!isDone) throw new Error(`${partclone} refuses it${reasonIn(complaint)}`);
    const reader = new MapfileReader(`of ${partclone}`, '', true);
    const free = new FreeAreas();
    for await (const line of linesOf(map)) {
      const area = reader.read(line);
      if (area === undefined) continue;
      if (area.offset + area.length > part.sizeBytes) throw new Error(`the map of ${partclone} is too long`);
      if (area.status !== '+' && !free.add(area.offset, area.length)) {
        throw new Error(`the map of ${partclone} has more than ${LEFT_OUT_AREAS_MAX} free areas`);
      }
    }
    reader.finish();
    return free.areas.flatMap((area) => withoutEnds(area, part.sizeBytes));
  } finally {
    await rm(folder, { recursive: true });
  }
}

function withoutEnds([offset, length]: Area, partBytes: number): Area[] {
  const from = Math.max(offset, ENDS_BYTES);
  const end = Math.min(offset + length, partBytes - ENDS_BYTES);
  return end - from >= FREE_BYTES_MIN ? [[from, end - from]] : [];
}

/** Its last sentence that says something; it prints what it does to the same place. */
function reasonIn(complaint: string): string {
  const lines = complaint.split(/[\r\n]+/).flatMap((line) => labelOf(line) ?? []);
  const reason = lines.findLast((line) => !/^(Partclone (fail|v)|error exit|Please run fsck)/.test(line));
  return reason === undefined ? '' : `: ${reason.replace(/^(.*Please wait\.\.\. *)?(\w+\.c: )?/, '')}`;
}
