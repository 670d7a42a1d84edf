/** Whether a source fits where it is to go. */
import type { Claim } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import type { Target } from '../target/target.ts';

/**
 * A sentence where the target's file system has less free space than the source has bytes. No refusal: blocks
 * of zeros take no space, and how many there are is known only when the source has been read.
 */
export async function roomShortage(target: Target, { size }: Claim): Promise<string | undefined> {
  if (size === null) return undefined;
  const roomBytes = await target.roomBytes().catch(() => Infinity);
  if (roomBytes >= size) return undefined;
  return (
    `${target.identity.path} may run out of space: the source has ${formatSize(size)}, ` +
    `the file system has room for ${formatSize(roomBytes)}; only blocks of zeros take none`
  );
}
