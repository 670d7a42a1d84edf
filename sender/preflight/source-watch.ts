/** What may go wrong with the source because it lives: who uses it, and whether it was written meanwhile. */
import { open, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { deviceFolderOf, readLine } from '../../common/disk/block-devices.ts';
import { placesOf, type DiskPlaces } from '../../common/disk/disk-places.ts';
import type { DiskUse } from '../../common/disk/disk-uses.ts';
import type { DiskDescription } from '../../common/disk/disks.ts';
import { lastingUsesOf } from '../../common/disk/lasting-uses.ts';

/** What people are told; the transfer goes on. */
export interface Caution {
  readonly warning: string;
  readonly hint?: string;
}

/** A source as it was found at the start. */
export interface SourceCare {
  readonly disk: DiskDescription;
  readonly uses: readonly DiskUse[];
  readonly places: DiskPlaces;
  /** The sectors that its GPT counts in; null where there is none. */
  readonly gptSectorBytes: number | null;
  /** Changes when the source is written; null where nothing tells. */
  readonly writes: string | null;
}

/** To be called before the source is sent. */
export async function careFor(disk: DiskDescription): Promise<SourceCare> {
  return {
    disk,
    uses: await lastingUsesOf(disk),
    places: await placesOf(disk.realPath),
    gptSectorBytes: await Promise.race([
      gptSectorBytesOf(disk.realPath),
      delay(GPT_WAIT_MS, null, { ref: false }),
    ]),
    writes: await writesOf(disk),
  };
}

const ADVICE: Readonly<Record<DiskUse['kind'], string | undefined>> = {
  mounted: 'umount it, or mount -o remount,ro it, or send a snapshot of it',
  'mounted-read-only': undefined,
  swap: 'swapoff it',
  held: 'deactivate what is on it (vgchange -an, cryptsetup close, mdadm --stop), or send a snapshot of that',
  attached: 'detach it: losetup --detach',
  open: 'end the program that has it open for writing',
  claimed: 'end what uses it, or send a snapshot',
};

/** Uses that can change the source while it is read. */
export function cautionsAtStart({ disk, uses }: SourceCare): Caution[] {
  const writing = uses.filter(({ kind }) => ADVICE[kind] !== undefined);
  const [first] = writing;
  if (first === undefined) return [];
  const what = writing.map(({ text }) => text).join('; ');
  const why = 'if it is written while it is sent, the copy is of no one moment';
  const hint = ADVICE[first.kind];
  return [{ warning: `${disk.path} is in use: ${what}; ${why}`, ...(hint === undefined ? {} : { hint }) }];
}

/** Whether it was written since, as the kernel's own counts tell, by whom ever. */
export async function cautionsAtEnd(care: SourceCare): Promise<Caution[]> {
  const { disk, writes } = care;
  if (writes === null || (await writesOf(disk)) === writes) return [];
  return [
    {
      warning: `${disk.path} was written while it was sent: the copy is of no one moment`,
      hint: 'send a snapshot, or the source unmounted',
    },
  ];
}

/**
 * Sectors written and discarded of a device (fields 7 and 14 of Documentation/block/stat.rst), time of the
 * last change of a file.
 */
async function writesOf({ majorMinor, realPath }: DiskDescription): Promise<string | null> {
  if (majorMinor === null) {
    const stats = await stat(realPath, { bigint: true }).catch(() => null);
    return stats === null ? null : String(stats.mtimeNs);
  }
  const folder = await deviceFolderOf(majorMinor).catch(() => null);
  const fields = (await readLine(`${folder}/stat`))?.split(' ');
  return fields === undefined ? null : `${fields[6]} ${fields[13] ?? 0}`;
}

const GPT_SIGNATURE = 'EFI PART';
/** Only for advice: a disk that hangs in its first sectors is copied without it. */
const GPT_WAIT_MS = 2000;

/**
 * The header of a GPT is in the second sector (UEFI specification 2.10, section 5.3.2), whatever its size.
 */
async function gptSectorBytesOf(path: string): Promise<number | null> {
  try {
    await using handle = await open(path, 'r');
    const signature = Buffer.alloc(GPT_SIGNATURE.length);
    for (const sectorBytes of [512, 4096]) {
      await handle.read(signature, 0, signature.length, sectorBytes);
      if (signature.toString('latin1') === GPT_SIGNATURE) return sectorBytes;
    }
  } catch {
    // What can't be read is told by those who have to read it.
  }
  return null;
}
