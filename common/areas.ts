/** Unreadable areas of the source: `[offset, length]` in bytes, offsets from its start. Pure. */
import { TransferError } from './errors.ts';
import { parseRanges } from './ranges.ts';

export type Area = readonly [offset: number, length: number];

/** The smallest sector of any disk, and the unit of the kernel (Documentation/ABI/stable/sysfs-block). */
export const SECTOR_BYTES = 512;

/**
 * Areas of one block on the wire: at worst 7 KB in the head of a request, which Node limits to 16 KiB
 * (`--max-http-header-size`).
 */
export const SOURCE_ERROR_RANGES_MAX = 256;

/** Sorts, and joins what overlaps or touches. */
export function joinAreas(areas: Iterable<Area>): Area[] {
  const joined: [number, number][] = [];
  for (const [offset, length] of [...areas].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last !== undefined && offset <= last[0] + last[1]) {
      last[1] = Math.max(last[1], offset + length - last[0]);
    } else joined.push([offset, length]);
  }
  return joined;
}

/**
 * At most `most` areas that cover all of these: the narrowest gaps are closed.
 * @param areas joined.
 */
export function coarsened(areas: readonly Area[], most: number): readonly Area[] {
  if (areas.length <= most) return areas;
  const gaps = areas.slice(1).map(([offset], at) => ({ at, bytes: offset - endOf(areas[at]) }));
  const given = gaps.sort((a, b) => a.bytes - b.bytes || a.at - b.at).slice(0, areas.length - most);
  const closed = given.map(({ at, bytes }): Area => [endOf(areas[at]), bytes]);
  return joinAreas([...areas, ...closed]);
}

function endOf(area: Area | undefined): number {
  return area === undefined ? 0 : area[0] + area[1];
}

/** Their parts within `lengthBytes` from `offset`. @param areas joined. */
export function areasWithin(areas: readonly Area[], offset: number, lengthBytes: number): Area[] {
  const end = offset + lengthBytes;
  const found: Area[] = [];
  for (let at = firstEndingPast(areas, offset); at < areas.length; at++) {
    const [start, length] = areas[at] ?? [end, 0];
    if (start >= end) break;
    const from = Math.max(start, offset);
    found.push([from, Math.min(start + length, end) - from]);
  }
  return found;
}

/** The index of the first area that ends past `offset`, by bisection: there may be very many. */
function firstEndingPast(areas: readonly Area[], offset: number): number {
  let low = 0;
  let high = areas.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (endOf(areas[middle]) <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The parts of `areas` that are not in `others`. @param others joined. */
export function areasOutside(areas: readonly Area[], others: readonly Area[]): Area[] {
  return areas.flatMap(([offset, length]) => {
    const left: Area[] = [];
    let from = offset;
    for (const [start, covered] of areasWithin(others, offset, length)) {
      if (start > from) left.push([from, start - from]);
      from = start + covered;
    }
    if (from < offset + length) left.push([from, offset + length - from]);
    return left;
  });
}

export function bytesOf(areas: readonly Area[]): number {
  return areas.reduce((sum, [, length]) => sum + length, 0);
}

export function isSameAreas(some: readonly Area[], others: readonly Area[]): boolean {
  return (
    some.length === others.length &&
    some.every(([offset, length], at) => others[at]?.[0] === offset && others[at][1] === length)
  );
}

/** `5120+512, 8192+1024 and 3 more`, for messages; the form of the header if none is left out. */
export function formatAreas(areas: readonly Area[], most = Infinity): string {
  const shown = areas.slice(0, most).map(([offset, length]) => `${offset}+${length}`);
  const more = areas.length - shown.length;
  return shown.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** `1024 bytes in 2 areas`. */
export function countAreas(areas: readonly Area[]): string {
  return `${bytesOf(areas)} bytes in ${areas.length} ${areas.length === 1 ? 'area' : 'areas'}`;
}

/**
 * The value of `Ddt-Source-Errors`: `<offset>+<length>[, …]`, ascending, within the block, in whole sectors
 * of 512 bytes except at the end of the source.
 * @returns joined; none without a value. @throws TransferError `bad-request`.
 */
export function parseSourceErrors(
  value: string | undefined,
  block: { offset: number; lengthBytes: number; sizeBytes: number },
): Area[] {
  if (value === undefined) return [];
  const items = value.split(',').map((item) => item.trim());
  if (items.length > SOURCE_ERROR_RANGES_MAX) {
    throw invalid(`${items.length} areas are more than ${SOURCE_ERROR_RANGES_MAX}`);
  }
  const blockEnd = block.offset + block.lengthBytes;
  let end = block.offset;
  const areas = items.map((item): Area => {
    const match = /^(0|[1-9]\d{0,15})\+([1-9]\d{0,15})$/.exec(item);
    const [offset, length] = [Number(match?.[1]), Number(match?.[2])];
    if (match === null) throw invalid(`'${item.slice(0, 40)}' is not of the form <offset>+<length>`);
    if (offset < end || offset + length > blockEnd) {
      throw invalid(`${item} is not past the previous one and within ${block.offset}+${block.lengthBytes}`);
    }
    end = offset + length;
    const isWhole = offset % SECTOR_BYTES === 0 && (length % SECTOR_BYTES === 0 || end === block.sizeBytes);
    if (!isWhole) throw invalid(`${item} is not in whole sectors of ${SECTOR_BYTES} bytes`);
    return [offset, length];
  });
  return joinAreas(areas);
}

function invalid(why: string): TransferError {
  return new TransferError('bad-request', `cannot use Ddt-Source-Errors: ${why}`);
}

/** Checks areas in JSON from outside: `[[offset,length],…]`, ascending, apart, within the source. */
export function parseAreas(value: unknown, sizeBytes: number, areasMax: number): Area[] | undefined {
  const areas = parseRanges(value, sizeBytes, areasMax);
  const isApart = areas?.every(([offset], at) => at === 0 || offset > endOf(areas[at - 1]));
  return isApart === true ? areas : undefined;
}
