/** Whether the target in front of us is the one that a journal was written for. Pure. */
import type { TargetIdentity } from './target.ts';

/**
 * What tells two targets apart, as a sentence; undefined when nothing known differs. Paths do not count:
 * devices change their names when the machine restarts.
 */
export function identityDifference(recorded: TargetIdentity, present: TargetIdentity): string | undefined {
  const facts = [
    ['kind', recorded.kind, present.kind],
    ['size in bytes', recorded.sizeBytes, present.sizeBytes],
    ['serial number', recorded.serial, present.serial],
    ['world-wide name', recorded.wwn, present.wwn],
    ...fileFacts(recorded, present),
  ] as const;
  const difference = facts.find(([, before, now]) => before !== now);
  if (difference === undefined) return undefined;
  const [what, before, now] = difference;
  return `its ${what} was ${before ?? 'unknown'} when the transfer began and is ${now ?? 'unknown'} now`;
}

type Fact = readonly [what: string, before: string | null, now: string | null];

/**
 * A file system may get another device number when it is mounted again, and may give a deleted file's inode
 * number to the next one: where the creation time is known it decides, together with the inode.
 */
function fileFacts(recorded: TargetIdentity, present: TargetIdentity): Fact[] {
  const [before, now] = [recorded.createdAt ?? null, present.createdAt ?? null];
  if (before === null || now === null) {
    return [['file (device:inode)', recorded.fileId, present.fileId]];
  }
  return [
    ['creation time', before, now],
    ['inode', inodeOf(recorded), inodeOf(present)],
  ];
}

function inodeOf({ fileId }: TargetIdentity): string | null {
  return fileId?.split(':')[1] ?? null;
}

/** How sure it is that a transfer which began under another name is on the present target. */
export type Likeness =
  /** Only one such target can exist. */
  | 'same'
  /** Model, serial number and size agree; cheap bridges give several disks one serial number. */
  | 'alike'
  | 'different';

/**
 * @param isPathSame the recorded path leads to the present target.
 */
export function likenessOf(recorded: TargetIdentity, present: TargetIdentity, isPathSame: boolean): Likeness {
  if (identityDifference(recorded, present) !== undefined) return 'different';
  const isKnown = (value: string | null | undefined): boolean => value !== null && value !== undefined;
  if (isPathSame) return 'same';
  if (isKnown(present.bootTimeId) && recorded.bootTimeId === present.bootTimeId) return 'same';
  if (isKnown(present.createdAt) && recorded.fileId === present.fileId) {
    return recorded.createdAt === present.createdAt ? 'same' : 'different';
  }
  const hasHardwareName = isKnown(present.serial) || isKnown(present.wwn);
  return hasHardwareName && recorded.model === present.model ? 'alike' : 'different';
}
