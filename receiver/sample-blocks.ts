/** Before a transfer goes on: is this still the disk that the journal speaks of? */
import { randomInt } from 'node:crypto';
import { TransferError } from '../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf } from '../common/geometry.ts';
import type { OpenTransfer } from './transfer.ts';
import type { Target } from './target.ts';

/** With a tenth of the blocks changed 32 samples miss it once in 29 times; with another disk, never. */
export const SAMPLE_COUNT = 32;

/**
 * Reads a sample of the durable blocks, the first and the last among them, and compares their digests.
 * @returns how many were compared. @throws TransferError `target-refused`, `io-error`.
 */
export async function sampleBlocks(
  target: Target,
  open: OpenTransfer,
  random: (below: number) => number = (below) => randomInt(below),
): Promise<number> {
  const durable: number[] = [];
  for (let index = 0; index < open.blockCount; index++) if (open.table.isDurable(index)) durable.push(index);
  const chosen = new Set([durable[0], durable.at(-1)]);
  for (let at = 0; at < SAMPLE_COUNT && durable.length > 0; at++) chosen.add(durable[random(durable.length)]);
  let compared = 0;
  for (const number of chosen) {
    if (number === undefined) continue;
    using slab = await open.slabs.take();
    const index = blockIndexOf(number, open.geometry);
    const bytes = slab.bytes.subarray(0, lengthOf(index, open.geometry));
    await target.readBack(bytes, offsetOf(index, open.geometry));
    if (!(await open.digest.of(bytes)).equals(open.table.digestOf(index))) {
      throw new TransferError(
        'target-refused',
        `block ${index} (offset ${offsetOf(index, open.geometry)}) of ${target.identity.path} ` +
          'is not what the journal says: it is another disk, or something else has written to it',
        { hint: 'check the disk; to copy everything anew: --discard-transfer --overwrite-target' },
      );
    }
    compared++;
  }
  return compared;
}
