/** How fast the target can be read, before anything is claimed. */
import { measureReading, type ReadRate, type ReadRateOptions } from '../../common/io/read-rate.ts';
import type { Target } from '../target/target.ts';

const FOR_MS = 1500;

/**
 * Reads past the page cache.
 * @returns 0 bytes of a file: it takes its size, and its place on the disk, when it is written.
 * @throws TransferError `io-error`.
 */
export async function probeTarget(
  target: Target,
  { clock, isGone }: Pick<ReadRateOptions, 'clock' | 'isGone'>,
): Promise<ReadRate> {
  if (!target.isSizeFixed) return { bytes: 0, ms: 0 };
  const sizeBytes = await target.roomBytes();
  const read = async (into: Buffer<ArrayBuffer>, offset: number): Promise<unknown> =>
    await target.readBack(into, offset);
  return await measureReading(read, sizeBytes, { clock, forMs: FOR_MS, isGone });
}
