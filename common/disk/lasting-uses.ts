/** Who uses a disk for longer than a moment. */
import { setTimeout as delay } from 'node:timers/promises';
import { usesOf, type DiskToCheck, type DiskUse } from './disk-uses.ts';

export type { DiskUse } from './disk-uses.ts';

/** Programs that look for disks, udev's among them, open each one for a moment. */
const LOOKS = 5;
const LOOK_AGAIN_MS = 200;

/** As {@link usesOf}; what only has it open is looked at again for a second. */
export async function lastingUsesOf(disk: DiskToCheck): Promise<DiskUse[]> {
  let uses = await usesOf(disk);
  for (let look = 1; look < LOOKS && uses.every(({ kind }) => kind === 'open'); look++) {
    if (uses.length === 0) return [];
    await delay(LOOK_AGAIN_MS);
    uses = await usesOf(disk);
  }
  return uses;
}
