/** Source and target as people see them before anything is written, and what to do after the copy. Pure. */
import { diskKind, diskName } from '../../common/disk/disk-line.ts';
import { marksOf, overlapOf } from '../../common/disk/disk-places.ts';
import { LIST_DISKS } from '../../common/disk/disks.ts';
import { TransferError } from '../../common/errors.ts';
import type { SourceDescription, TransferStatus } from '../../common/protocol/protocol.ts';
import { pathToType } from '../../common/text.ts';
import { formatSize } from '../../common/units.ts';
import type { Caveat } from './caveats.ts';
import type { WatchedSource } from './source-watch.ts';

export interface NamedSource {
  readonly description: SourceDescription;
  /** null: known when it ends. */
  readonly sizeBytes: number | null;
}

/** `source   /dev/sdc: ATA WDC WD10EZEX, serial WD-1234, 931.5 GiB`. */
export function sourceLine({ description, sizeBytes }: NamedSource): string {
  const size = sizeBytes === null ? 'size unknown' : formatSize(sizeBytes);
  return `source   ${diskName(description)}: ${diskKind(description)}, ${size}`;
}

/** `target   /dev/vdd at 203.0.113.7: virtio disk, 1 TiB, empty, new transfer`. */
export function targetLine(found: TransferStatus, receiverName: string): string {
  const { target } = found;
  const size = target.size === null ? '' : `, ${formatSize(target.size)}`;
  return `target   ${diskName(target)} at ${receiverName}: ${diskKind(target)}${size}, ${stateOf(found)}`;
}

function stateOf(found: TransferStatus): string {
  const { content } = found.target;
  if (found.state === 'unclaimed') {
    return content.length === 0 ? 'empty, new transfer' : `holds ${content.join(', ')}; new transfer`;
  }
  if (found.state === 'sealed') return 'complete and sealed: comparing';
  const present = found.blocks.durable + found.blocks.verified;
  const total = found.blockCount === null ? '' : ` of ${found.blockCount}`;
  return `resuming: ${present}${total} blocks present`;
}

const OVERLAPS = {
  same: 'they are the same disk',
  part: 'the source is part of the target',
  whole: 'the target is part of the source',
};

/** @throws TransferError `source-refused` when source and target share bytes on one machine. */
export function refuseOverlap({ disk, places }: WatchedSource, found: TransferStatus): void {
  const overlap = overlapOf(marksOf(places, found.transferId), found.targetMarks);
  if (overlap === undefined) return;
  const message = `cannot send ${disk.path} to ${found.target.path}: ${OVERLAPS[overlap]}`;
  throw new TransferError('source-refused', message, { hint: LIST_DISKS });
}

/** What looks wrong about this pair of disks, and may be right. */
export function pairCaveats({ disk, gptSectorBytes }: WatchedSource, { target }: TransferStatus): Caveat[] {
  const caveats: Caveat[] = [];
  const isDisk = disk.kind === 'device' || gptSectorBytes !== null;
  const sectorBytes = gptSectorBytes ?? disk.logicalSectorBytes;
  if (isDisk && target.sectorBytes !== null && target.sectorBytes !== sectorBytes) {
    caveats.push({
      warning:
        `${disk.path} has sectors of ${sectorBytes} bytes, ${target.path} has sectors of ` +
        `${target.sectorBytes}: partitions will not be found on the target`,
    });
  }
  if (disk.serial !== null && disk.serial === target.serial && disk.model === target.model) {
    caveats.push({
      warning: `source and target have the same model and serial number ${disk.serial}: are they two disks?`,
    });
  }
  return caveats;
}

/** After the copy: the next command to type on the target's machine, if there is one. */
export function hintAfter(
  { disk, gptSectorBytes }: WatchedSource,
  { target }: TransferStatus,
): string | undefined {
  if (gptSectorBytes === null || target.size === null || target.size <= disk.sizeBytes) return undefined;
  return (
    'to move the backup GPT to the end of the larger target, when ddt-receive has ended: ' +
    `sgdisk -e ${pathToType(target.path, 'target')}`
  );
}
