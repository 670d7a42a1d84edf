/** Areas that a copy leaves out, as the source can leave them out. Pure. */
import { joinAreas, type Area } from '../../common/areas.ts';
import { SLAB_ALIGNMENT_BYTES } from '../../common/io/buffers.ts';

/** Areas of one source: 100 MB in memory. */
export const LEFT_OUT_AREAS_MAX = 1_048_576;

/**
 * Cut to whole pages, which is what is read past the page cache; the last may end with the source.
 * @param areas ascending and apart.
 */
export function wholePages(areas: readonly Area[], sizeBytes: number): Area[] {
  return joinAreas(
    areas.flatMap(([offset, length]): Area[] => {
      const end = offset + length;
      const from = Math.ceil(offset / SLAB_ALIGNMENT_BYTES) * SLAB_ALIGNMENT_BYTES;
      const to = end === sizeBytes ? end : end - (end % SLAB_ALIGNMENT_BYTES);
      return to > from ? [[from, to - from]] : [];
    }),
  );
}
