/** Sets of block indexes as `[first, count]` pairs, sorted and without overlap. Pure. */

export type Range = readonly [first: number, count: number];

/** Joins neighbours. @param indexes in any order; duplicates are dropped. */
export function rangesOf(indexes: Iterable<number>): Range[] {
  const sorted = [...indexes].sort((a, b) => a - b);
  const ranges: [number, number][] = [];
  for (const index of sorted) {
    const last = ranges.at(-1);
    if (last !== undefined && index < last[0] + last[1]) continue;
    if (last !== undefined && index === last[0] + last[1]) last[1]++;
    else ranges.push([index, 1]);
  }
  return ranges;
}

export function* indexesOf(ranges: readonly Range[]): Iterable<number> {
  for (const [first, count] of ranges) for (let index = first; index < first + count; index++) yield index;
}

export function countOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [, count]) => sum + count, 0);
}

/** `block 4`, or `blocks 4-6, 9`. */
export function formatBlocks(ranges: readonly Range[]): string {
  return `${countOf(ranges) === 1 ? 'block' : 'blocks'} ${formatRanges(ranges)}`;
}

/** `7, 12-15 and 3 more ranges`, for messages. */
export function formatRanges(ranges: readonly Range[], most = 8): string {
  const shown = ranges
    .slice(0, most)
    .map(([first, count]) => (count === 1 ? `${first}` : `${first}-${first + count - 1}`));
  const rest = ranges.length - shown.length;
  return rest > 0
    ? `${shown.join(', ')} and ${rest} more ${rest === 1 ? 'range' : 'ranges'}`
    : shown.join(', ');
}

/** Checks ranges from outside: whole numbers, in any order, each within `[0, blockCount)`. */
export function parseRanges(value: unknown, blockCount: number, rangesMax: number): Range[] | undefined {
  if (!Array.isArray(value) || value.length > rangesMax) return undefined;
  const ranges: Range[] = [];
  for (const entry of value as unknown[]) {
    if (!Array.isArray(entry) || entry.length !== 2) return undefined;
    const [first, count] = entry as unknown[];
    if (typeof first !== 'number' || typeof count !== 'number') return undefined;
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count)) return undefined;
    if (first < 0 || count < 1 || first + count > blockCount) return undefined;
    ranges.push([first, count]);
  }
  return ranges;
}
