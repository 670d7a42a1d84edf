/** Checks, before a transfer resumes, that this is the disk of its journal. */
import { randomInt } from 'node:crypto';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf } from '../../common/geometry.ts';
import type { Target } from '../target/target.ts';
import type { OpenTransfer } from './transfer.ts';

/** If a tenth of the blocks is left, 64 samples miss all of it once in 850 times. */
export const SAMPLE_COUNT = 64;

/**
 * Reads random durable blocks until one has the digest in the journal. Reading everything back finds the
 * others later; here it is enough that the disk holds something of this transfer. Blocks of zeros prove
 * nothing: an empty disk has them too.
 * @throws TransferError `target-refused` if all samples differ; `io-error` if some could not be read.
 */
export async function refuseOtherDisk(
  target: Target,
  open: OpenTransfer,
  random: (below: number) => number = (below) => randomInt(below),
): Promise<void> {
  const drawn = draw(open, random);
  let failure: TransferError | undefined;
  for (const number of drawn) {
    using slab = await open.slabs.take();
    const index = blockIndexOf(number, open.geometry);
    const bytes = slab.bytes.subarray(0, lengthOf(index, open.geometry));
    try {
      await target.readBack(bytes, offsetOf(index, open.geometry));
      if ((await open.digest.of(bytes)).equals(open.table.digestOf(index))) return;
    } catch (error) {
      // A bad sector, or a file that was cut: the other samples decide.
      if (!(error instanceof TransferError) || error.code !== 'io-error') throw error;
      failure ??= error;
    }
  }
  if (drawn.length === 0) return;
  if (failure !== undefined) throw failure;
  throw new TransferError(
    'target-refused',
    `${target.identity.path} holds nothing of this transfer: ` +
      `all of ${drawn.length} sampled blocks differ from the journal; it is another disk, or was overwritten`,
    {
      hint:
        'check the disk; to copy everything again, run the same command again with --discard-transfer ' +
        '--overwrite-target, and --yes where nobody can be asked',
    },
  );
}

/** Random durable blocks that are not zeros, each once, in random order. */
function draw({ table, blockCount, zeroDigests }: OpenTransfer, random: (below: number) => number): number[] {
  const isTelling = (index: number): boolean =>
    table.isDurable(index) && !table.digestOf(index).equals(zeroDigests.of(index));
  const drawn: number[] = [];
  let seen = 0;
  // Reservoir sampling: a list of millions of blocks would need too much memory.
  for (let index = 0; index < blockCount; index++) {
    if (!isTelling(index)) continue;
    seen++;
    const at = drawn.length < SAMPLE_COUNT ? drawn.length : random(seen);
    if (at < SAMPLE_COUNT) drawn[at] = index;
  }
  for (let at = drawn.length - 1; at > 0; at--) {
    const other = random(at + 1);
    [drawn[at], drawn[other]] = [drawn[other] ?? 0, drawn[at] ?? 0];
  }
  return drawn;
}
