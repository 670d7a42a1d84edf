/** Both disks, named before anything is written, so that a person can stop; and what is to be done after. */
import { marksOf, overlapOf } from '../../common/disk/disk-places.ts';
import { diskKind, diskName } from '../../common/disk/disk-line.ts';
import { TransferError } from '../../common/errors.ts';
import type { SourceDescription, TransferStatus } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import { remainderNote } from '../transfer/send-plan.ts';
import type { Caution, SourceCare } from './source-watch.ts';

export interface NamedSource {
  readonly description: SourceDescription;
  /** null of a pipe. */
  readonly sizeBytes: number | null;
}

/** `source   /dev/sdc: ATA WDC WD10EZEX, serial WD-1234, 931.5 GiB`. */
export function sourceLine({ description, sizeBytes }: NamedSource): string {
  const size = sizeBytes === null ? 'size not known' : formatSize(sizeBytes);
  return `source   ${diskName(description)}: ${diskKind(description)}, ${size}`;
}

/** `target   /dev/vdd at 203.0.113.7: virtio disk, 1 TiB, empty, new transfer`. */
export function targetLine(found: TransferStatus, receiverName: string): string {
  const { target } = found;
  const size = target.size === null ? '' : `, ${formatSize(target.size)}`;
  return `target   ${diskName(target)} at ${receiverName}: ${diskKind(target)}${size}, ${standOf(found)}`;
}

function standOf(found: TransferStatus): string {
  const { content } = found.target;
  if (found.state === 'unclaimed') {
    return content.length === 0 ? 'empty, new transfer' : `holds ${content.join(', ')}; new transfer`;
  }
  if (found.state === 'sealed') return 'complete and sealed: comparing';
  const there = found.blocks.durable + found.blocks.verified;
  const of = found.blockCount === null ? '' : ` of ${found.blockCount}`;
  return `going on: ${there}${of} blocks are there`;
}

/** @throws TransferError `source-refused` when source and target share bytes on one machine. */
export function refuseSameDisk(care: SourceCare, found: TransferStatus): void {
  const { path } = care.disk;
  const target = found.target.path;
  const hint = 'look at lsblk, and name another disk';
  const ours = marksOf(care.places, found.transferId);
  switch (overlapOf(ours, found.targetMarks)) {
    case 'same':
      throw new TransferError('source-refused', `cannot send ${path} to ${target}: they are the same disk`, {
        hint,
      });
    case 'part':
      throw new TransferError(
        'source-refused',
        `cannot send ${path} to ${target}: the source is a part of the target`,
        { hint },
      );
    case 'whole':
      throw new TransferError(
        'source-refused',
        `cannot send ${path} to ${target}: the target is a part of the source`,
        { hint },
      );
    case undefined:
  }
}

/** What of these two disks should make a person think. */
export function cautionsOf(care: SourceCare, found: TransferStatus): Caution[] {
  const { disk, gptSectorBytes } = care;
  const { target } = found;
  const cautions: Caution[] = [];
  const isDisk = disk.kind === 'device' || gptSectorBytes !== null;
  const sectorBytes = gptSectorBytes ?? disk.logicalSectorBytes;
  if (isDisk && target.sectorBytes !== null && target.sectorBytes !== sectorBytes) {
    cautions.push({
      warning:
        `${disk.path} counts in sectors of ${sectorBytes} bytes, ${target.path} in sectors of ` +
        `${target.sectorBytes}: a partition table of the one is not understood on the other`,
    });
  }
  if (disk.serial !== null && disk.serial === target.serial && disk.model === target.model) {
    cautions.push({
      warning: `source and target have the same model and serial number ${disk.serial}: are they two disks?`,
    });
  }
  return cautions;
}

/** How much of the target lies behind the end of the source; 0 where it takes the source's size. */
function bytesBehind({ sizeBytes }: NamedSource, { target }: TransferStatus): number {
  return target.size === null || sizeBytes === null ? 0 : Math.max(0, target.size - sizeBytes);
}

export function notesOf({ sizeBytes }: NamedSource, { target }: TransferStatus): string[] {
  const note = remainderNote(target, sizeBytes);
  return note === undefined ? [] : [note];
}

/** When the copy is complete: the next command to type on the target's machine, if there is one. */
export function hintAfter(care: SourceCare, found: TransferStatus): string | undefined {
  if (care.gptSectorBytes === null || bytesBehind(toNamed(care), found) === 0) return undefined;
  return (
    'the backup of the GPT is not at the end of the larger target: ' +
    `on its machine, when ddt-receive has ended: sgdisk -e ${found.target.path}`
  );
}

function toNamed({ disk }: SourceCare): NamedSource {
  return { description: disk, sizeBytes: disk.sizeBytes };
}
