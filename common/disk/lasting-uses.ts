/** Who uses a disk for more than an instant. */
import { setTimeout as delay } from 'node:timers/promises';
import { usesOf, type DiskToCheck, type DiskUse } from './disk-uses.ts';

/** Programs that scan disks, udev's among them, have each one open for an instant. */
const LOOKS = 5;
const LOOK_AGAIN_MS = 200;

/** As {@link usesOf}, but a process that has it open counts only if it still has after a second. */
export async function lastingUsesOf(disk: DiskToCheck): Promise<DiskUse[]> {
  let uses = await usesOf(disk);
  for (let look = 1; look < LOOKS && uses.every(({ kind }) => kind === 'open'); look++) {
    if (uses.length === 0) return [];
    await delay(LOOK_AGAIN_MS);
    uses = await usesOf(disk);
  }
  return uses;
}
