/** How `--memory` is cut into buffers. */
import { BLOCK_SIZE_BYTES_MAX } from '../common/geometry.ts';

/** Two slabs at least, or one client could hold up every other. */
const SLAB_COUNT_MIN = 2;
/** The least useful `--memory`: two slabs of the largest block. */
export const MEMORY_BYTES_MIN = SLAB_COUNT_MIN * 2 * BLOCK_SIZE_BYTES_MAX;

export function slabCountOf(memoryBytes: number, slabSizeBytes: number): number {
  return Math.max(SLAB_COUNT_MIN, Math.floor(memoryBytes / slabSizeBytes));
}
