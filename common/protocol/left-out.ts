/** What a copy leaves out of its source, on the wire and in the receipt. Pure. */
import { bytesOf, coarsened, isSameAreas, parseAreas, type Area } from '../areas.ts';
import { isRecord } from '../records.ts';
import { formatSize } from '../units.ts';
import { UNREADABLE_AREAS_MAX, type LeftOut } from './protocol.ts';

/** @param areas joined. @returns null: none. */
export function leftOutOf(areas: readonly Area[]): LeftOut | null {
  if (areas.length === 0) return null;
  return { bytes: bytesOf(areas), count: areas.length, areas: coarsened(areas, UNREADABLE_AREAS_MAX) };
}

/** Checks what came from outside. @returns undefined if it is not of that form. */
export function parseLeftOut(value: unknown, sizeBytes: number): LeftOut | null | undefined {
  if (value === null) return null;
  if (!isRecord(value)) return undefined;
  const { bytes, count } = value;
  const areas = parseAreas(value['areas'], sizeBytes, UNREADABLE_AREAS_MAX);
  if (areas === undefined || areas.length === 0) return undefined;
  if (typeof bytes !== 'number' || typeof count !== 'number') return undefined;
  const isCounted = Number.isSafeInteger(bytes) && Number.isSafeInteger(count) && count >= areas.length;
  const covered = bytesOf(areas);
  // Coarser areas cover more than was left out, never less.
  const isCovered = count === areas.length ? bytes === covered : bytes >= count && bytes < covered;
  return isCounted && isCovered ? { bytes, count, areas } : undefined;
}

export function isSameLeftOut(one: LeftOut | null, other: LeftOut | null): boolean {
  if (one === null || other === null) return one === other;
  return one.bytes === other.bytes && one.count === other.count && isSameAreas(one.areas, other.areas);
}

/** `6.8 GiB in 212 areas`. */
export function countLeftOut({ bytes, count }: LeftOut): string {
  return `${formatSize(bytes)} in ${count} ${count === 1 ? 'area' : 'areas'}`;
}
