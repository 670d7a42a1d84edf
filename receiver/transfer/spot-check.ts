/** Before a transfer goes on: is this still the disk that the journal speaks of? */
import { randomInt } from 'node:crypto';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf } from '../../common/geometry.ts';
import type { OpenTransfer } from './transfer.ts';
import type { Target } from '../target/target.ts';

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
  let compared = 0;
  for (const number of draw(open, random)) {
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

/** The first, the last, and some between, each once. Remembers these few alone: a disk has millions. */
function draw({ table, blockCount }: OpenTransfer, random: (below: number) => number): number[] {
  const durableCount = table.countOf('durable') + table.countOf('verified');
  if (durableCount === 0) return [];
  /** By how many durable blocks are before them. */
  const places = new Map<number, number>([
    [0, 0],
    [durableCount - 1, 0],
  ]);
  for (let at = 0; at < SAMPLE_COUNT; at++) places.set(random(durableCount), 0);
  for (let index = 0, before = 0; index < blockCount; index++) {
    if (!table.isDurable(index)) continue;
    if (places.has(before)) places.set(before, index);
    before++;
  }
  return [...places.values()];
}
