/** How `--memory` is cut into buffers, and when what is used besides is given back. */
import { setFlagsFromString } from 'node:v8';
import { BLOCK_SIZE_BYTES_MAX } from '../common/geometry.ts';

/** Two slabs at least, or one client could hold up every other. */
const SLAB_COUNT_MIN = 2;
/** The least useful `--memory`: two slabs of the largest block. */
export const MEMORY_BYTES_MIN = SLAB_COUNT_MIN * 2 * BLOCK_SIZE_BYTES_MAX;

export function slabCountOf(memoryBytes: number, slabSizeBytes: number): number {
  return Math.max(SLAB_COUNT_MIN, Math.floor(memoryBytes / slabSizeBytes));
}

/**
 * Node makes a buffer for each record of TLS, 16 KiB, dead as soon as it was copied into its slab. For every
 * 64 MiB of them V8 marks its whole heap, unless they count as a part of the heap and wait for its own turn:
 * marking was a quarter of the receiver's processor time. To be called before the first connection. V8 13.6
 * (Node 24) to 14.6 know the flag.
 */
export function markWithHeap(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}
