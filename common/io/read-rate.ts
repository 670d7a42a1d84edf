/** How fast a disk can be read: areas all over it, for a moment. */
import type { Clock } from '../clock.ts';
import { SlabPool } from './buffers.ts';

/** Read as a whole before the next area: on a disk that turns, the way there is a tenth of that. */
const AREA_BYTES = 16 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const CHUNKS_PER_AREA = AREA_BYTES / CHUNK_BYTES;
/** As many at once as when all of it is read. */
const READERS = 4;
/** Multiples of the golden ratio lie evenly in any interval, however many there are. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

export interface ReadRate {
  readonly bytes: number;
  readonly ms: number;
}

export interface ReadRateOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** It ends earlier when as much was read as there is. */
  readonly forMs: number;
  /** Nobody waits for the result any more. */
  readonly isGone: () => boolean;
}

/**
 * @param read fills a buffer that direct I/O can use. @returns 0 bytes of what is shorter than 1 MiB.
 * @throws what `read` throws.
 */
export async function measureReading(
  read: (into: Buffer<ArrayBuffer>, offset: number) => Promise<unknown>,
  sizeBytes: number,
  { clock, forMs, isGone }: ReadRateOptions,
): Promise<ReadRate> {
  const slabs = new SlabPool({ slabSizeBytes: CHUNK_BYTES, slabCount: READERS });
  const areas = Math.max(1, Math.floor(sizeBytes / AREA_BYTES));
  const chunksPerArea = Math.min(CHUNKS_PER_AREA, Math.floor(sizeBytes / CHUNK_BYTES));
  const startMs = clock.monotonicMs();
  let [next, bytes] = [0, 0];
  const isOver = (): boolean => isGone() || clock.monotonicMs() - startMs >= forMs;
  const readSome = async (): Promise<void> => {
    while (!isOver() && next < areas * chunksPerArea) {
      const nth = next++;
      const area = Math.floor(((Math.floor(nth / chunksPerArea) * GOLDEN) % 1) * areas);
      using slab = await slabs.take();
      await read(slab.bytes, area * AREA_BYTES + (nth % chunksPerArea) * CHUNK_BYTES);
      bytes += CHUNK_BYTES;
    }
  };
  await Promise.all(Array.from({ length: READERS }, readSome));
  return { bytes, ms: clock.monotonicMs() - startMs };
}
