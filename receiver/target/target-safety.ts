/**
 * The wrong disk is never written: what devices and files are checked for before they are opened for writing.
 * What was seen can change a moment later, so both are then opened exclusively: the kernel has the last word.
 */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { DiskDescription } from '../../common/disk/disks.ts';
import { lastingUsesOf } from '../../common/disk/lasting-uses.ts';
import type { OpenDisk } from '../../common/disk/open-disk.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { reopenPathOf } from '../../common/system-tools.ts';
import { formatSize } from '../../common/units.ts';
import type { TargetIdentity } from './target.ts';

export const LIST_DISKS = 'lsblk --output PATH,SIZE,MODEL,SERIAL,FSTYPE,LABEL,MOUNTPOINTS';
/** The disk of a busy machine is mounted in hundreds of places: a message stays readable. */
const NAMED_REASONS_MAX = 6;
/** Read at the start, at the end and spread over a disk on which nothing was recognised. */
const SAMPLE_BYTES = 64 * 1024;
const SAMPLE_COUNT = 64;

/** @param hint the next command to type. */
export function refusal(message: string, hint?: string, cause?: unknown): TransferError {
  return new TransferError('target-refused', message, { cause, ...(hint !== undefined && { hint }) });
}

export function nameOf(disk: DiskDescription): string {
  return `${disk.path} (${disk.description}, ${formatSize(disk.sizeBytes)})`;
}

export function enumerate(reasons: readonly string[], separator: string): string {
  const more = reasons.length - NAMED_REASONS_MAX;
  const named = reasons.slice(0, NAMED_REASONS_MAX).join(separator);
  return more > 0 ? `${named}${separator}and ${more} more` : named;
}

/** @param change of `changeOf`. */
export function changedTarget(path: string, change: string): TransferError {
  const hint = 'run the same command again: it looks at what is there now';
  return refusal(`cannot write to ${path}: it is not what was inspected: ${change}`, hint);
}

/** Without its size, which depends on the kind of target. */
export function identityOf(disk: DiskDescription): TargetIdentity {
  const { kind, path, model, serial, wwn, byId, fileId, createdAt, bootTimeId } = disk;
  const { logicalSectorBytes, description } = disk;
  const facts = { kind, path, model, serial, wwn, byId, sizeBytes: null, fileId, createdAt, bootTimeId };
  return { ...facts, logicalSectorBytes, description };
}

/** @param usualHint for uses that are neither a loop device nor a process. */
export async function refuseUsed({ description, handle }: OpenDisk, usualHint: string): Promise<void> {
  const uses = await lastingUsesOf({ ...description, handle });
  const [first] = uses;
  if (first === undefined) return;
  const hint =
    first.loopDevice !== undefined
      ? `detach it: losetup --detach ${first.loopDevice}`
      : first.kind === 'open'
        ? 'stop the process that uses it, or name another target'
        : usualHint;
  const reasons = enumerate(
    uses.map(({ text }) => text),
    '; ',
  );
  throw refusal(`cannot write to ${nameOf(description)}: it is in use: ${reasons}`, hint);
}

export async function refuseUnwritable({ description, handle }: OpenDisk, hint?: string): Promise<void> {
  await access(reopenPathOf(handle), constants.W_OK).catch((error: unknown) => {
    throw refusal(`cannot write to ${nameOf(description)}: ${reasonOf(error)}`, hint, error);
  });
}

/** Whether a sample spread evenly from the first to the last byte has any byte that is not zero. */
export async function holdsData({ description, handle }: OpenDisk): Promise<boolean> {
  const zeros = Buffer.alloc(SAMPLE_BYTES);
  const sample = Buffer.alloc(SAMPLE_BYTES);
  try {
    const step = Math.max(SAMPLE_BYTES, (description.sizeBytes - SAMPLE_BYTES) / (SAMPLE_COUNT - 1));
    for (let at = 0; at < SAMPLE_COUNT; at++) {
      const { bytesRead } = await handle.read(sample, 0, SAMPLE_BYTES, Math.floor(at * step));
      if (!sample.subarray(0, bytesRead).equals(zeros.subarray(0, bytesRead))) return true;
    }
    return false;
  } catch (error) {
    const message = `cannot read ${nameOf(description)} to see whether it is empty: ${reasonOf(error)}`;
    throw refusal(message, undefined, error);
  }
}
