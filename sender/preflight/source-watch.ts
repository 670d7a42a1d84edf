/** Who uses the source while it is copied, and whether it was written meanwhile. */
import type { FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { deviceFolderOf, readLine } from '../../common/disk/block-devices.ts';
import { placesOf, type DiskPlaces } from '../../common/disk/disk-places.ts';
import type { DiskUse } from '../../common/disk/disk-uses.ts';
import { LIST_DISKS, type DiskDescription } from '../../common/disk/disks.ts';
import { lastingUsesOf } from '../../common/disk/lasting-uses.ts';
import { changeOf, type OpenDisk } from '../../common/disk/open-disk.ts';
import { TransferError } from '../../common/errors.ts';
import type { Caveat } from './caveats.ts';

/** A source as it was when the copy began. */
export interface WatchedSource {
  readonly disk: DiskDescription;
  readonly handle: FileHandle;
  readonly uses: readonly DiskUse[];
  readonly places: DiskPlaces;
  /** The sector size that its GPT was made for; null without a GPT. */
  readonly gptSectorBytes: number | null;
  /** Changes when the source is written; null where that cannot be seen. */
  readonly writes: string | null;
}

/** Call it before the source is sent. */
export async function watchSource({ description: disk, handle }: OpenDisk): Promise<WatchedSource> {
  return {
    disk,
    handle,
    uses: await lastingUsesOf({ ...disk, handle }),
    places: await placesOf(disk),
    gptSectorBytes: await Promise.race([gptSectorBytesOf(handle), delay(GPT_WAIT_MS, null, { ref: false })]),
    writes: await writesOf(disk, handle),
  };
}

/** Call it before anything is sent. @throws TransferError `source-refused` when it is not what was shown. */
export async function refuseChanged({ disk, handle }: WatchedSource): Promise<void> {
  // A file may grow, as a log does: what is copied has the size that was shown.
  const change = await changeOf({ ...disk, sizeBytes: disk.kind === 'file' ? null : disk.sizeBytes }, handle);
  if (change === undefined) return;
  const message = `cannot send ${disk.path}: it is not what was shown: ${change}`;
  throw new TransferError('source-refused', message, { hint: LIST_DISKS });
}

const SNAPSHOT = 'or send a snapshot of it';

/** @returns how to end this use; undefined: it does not change the source. */
function adviceFor({ kind, text, loopDevice }: DiskUse, path: string): string | undefined {
  // Uses of a partition begin with its name.
  const device = /^(\/dev\/\S+): /.exec(text)?.[1] ?? path;
  switch (kind) {
    case 'mounted':
      return `umount ${device}, or mount -o remount,ro ${device}, ${SNAPSHOT}`;
    case 'mounted-read-only':
      return undefined;
    case 'swap':
      return `swapoff ${device}`;
    case 'held':
      return `deactivate what is on it (vgchange -an, cryptsetup close, mdadm --stop), ${SNAPSHOT}`;
    case 'attached':
      return `losetup --detach ${loopDevice ?? device}`;
    case 'open':
    case 'claimed':
      return `stop the process that uses it, ${SNAPSHOT}`;
  }
}

/** Uses that can change the source while it is read. */
export function useCaveats({ disk, uses }: Pick<WatchedSource, 'disk' | 'uses'>): Caveat[] {
  const writing = uses.filter((use) => adviceFor(use, disk.path) !== undefined);
  const [first] = writing;
  if (first === undefined) return [];
  const what = writing.map(({ text }) => text).join('; ');
  const warning = `${disk.path} is in use: ${what}; the copy will be inconsistent if it is written meanwhile`;
  const hint = adviceFor(first, disk.path);
  return [{ warning, ...(hint === undefined ? {} : { hint }) }];
}

/** Whether the source was written since it is watched, by any process: the kernel counts. */
export async function writeCaveats({ disk, handle, writes }: WatchedSource): Promise<Caveat[]> {
  if (writes === null || (await writesOf(disk, handle)) === writes) return [];
  return [
    {
      warning: `${disk.path} was written while it was copied: the copy is inconsistent`,
      hint: 'unmount the source, or send a snapshot of it',
    },
  ];
}

/**
 * Sectors written and discarded of a device (fields 7 and 14 of Documentation/block/stat.rst), time of the
 * last change of a file.
 */
async function writesOf({ majorMinor }: DiskDescription, handle: FileHandle): Promise<string | null> {
  if (majorMinor === null) {
    const stats = await handle.stat({ bigint: true }).catch(() => null);
    return stats === null ? null : String(stats.mtimeNs);
  }
  const folder = await deviceFolderOf(majorMinor).catch(() => null);
  const fields = (await readLine(`${folder}/stat`))?.split(' ');
  return fields === undefined ? null : `${fields[6]} ${fields[13] ?? 0}`;
}

const GPT_SIGNATURE = 'EFI PART';
/** It is only for advice: a disk that hangs in its first sectors is copied without it. */
const GPT_WAIT_MS = 2000;

/** The GPT's header is in the second sector, whatever its size (UEFI specification 2.10, section 5.3.2). */
async function gptSectorBytesOf(handle: FileHandle): Promise<number | null> {
  try {
    const signature = Buffer.alloc(GPT_SIGNATURE.length);
    for (const sectorBytes of [512, 4096]) {
      await handle.read(signature, 0, signature.length, sectorBytes);
      if (signature.toString('latin1') === GPT_SIGNATURE) return sectorBytes;
    }
  } catch {
    // The copy itself will meet what cannot be read, and report it.
  }
  return null;
}
