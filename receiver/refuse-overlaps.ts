/** Several targets must have no byte in common: each would destroy what the other has written. */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { marksOf, overlapOf, placesOf, type DiskMarks } from '../common/disk/disk-places.ts';
import { LIST_DISKS } from '../common/disk/disks.ts';
import { TransferError } from '../common/errors.ts';
import { presentPlaceAt, targetPathOf } from './open-target.ts';

/** They are compared in this process only. */
const NO_SALT = '';
const OVERLAPS = {
  same: 'they are the same disk',
  part: 'the second is part of the first',
  whole: 'the first is part of the second',
};

interface Seen {
  readonly target: string;
  /** Of a file that does not exist yet. */
  readonly path: string;
  readonly marks: DiskMarks;
}

/** @throws TransferError `target-refused`. */
export async function refuseOverlaps(targets: readonly string[]): Promise<void> {
  if (targets.length === 1) return;
  const all: Seen[] = [];
  for (const target of targets) {
    const seen = await lookAt(target);
    for (const other of all) {
      const overlap = seen.path === other.path ? 'same' : overlapOf(seen.marks, other.marks);
      if (overlap === undefined) continue;
      const message = `cannot write to both ${other.target} and ${target}: ${OVERLAPS[overlap]}`;
      throw new TransferError('target-refused', message, { hint: LIST_DISKS });
    }
    all.push(seen);
  }
}

async function lookAt(target: string): Promise<Seen> {
  const path = targetPathOf(target);
  const folder = await realpath(dirname(path)).catch(() => dirname(path));
  const place = await presentPlaceAt(path);
  const marks = place === undefined ? { itself: [], within: [] } : marksOf(await placesOf(place), NO_SALT);
  return { target, path: join(folder, basename(path)), marks };
}
