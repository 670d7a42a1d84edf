/**
 * A mapfile of GNU ddrescue as its `--domain-mapfile` means it: what has the status `+` is copied, all else
 * is left out.
 */
import { open, stat } from 'node:fs/promises';
import type { Area } from '../../common/areas.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import { MapfileReader } from '../bad-sectors/mapfile.ts';
import { LEFT_OUT_AREAS_MAX, wholePages } from './left-out.ts';

/** Eight million areas. A larger file is not a mapfile, but perhaps a disk. */
export const MAPFILE_BYTES_MAX = 256 * 1024 * 1024;

const HINT = 'check that it is a map of this source: ddrescuelog --show-status';

export interface Domain {
  /** Joined. */
  readonly leftOut: readonly Area[];
  /** Something that the user may not expect of this mapfile. */
  readonly note: string | undefined;
}

/** @param sizeBytes of the source. @throws TransferError `usage`. */
export async function readDomain(path: string, sizeBytes: number): Promise<Domain> {
  const reader = new MapfileReader(path, HINT, true);
  const leftOut = new FreeAreas();
  let copiedBytes = 0;
  let first: number | undefined;
  for await (const line of linesOf(path)) {
    const area = reader.read(line);
    if (area === undefined) continue;
    const { offset, length, status } = area;
    first ??= offset;
    if (offset + length > sizeBytes) {
      reader.refuse(`it reaches to ${offset + length}, but the source has ${sizeBytes} bytes`);
    }
    if (status === '+') copiedBytes += length;
    else if (!leftOut.add(offset, length)) {
      reader.refuse(`it leaves out more than ${LEFT_OUT_AREAS_MAX} areas`);
    }
  }
  const end = reader.finish();
  if (copiedBytes === 0 && sizeBytes > 0) {
    reader.refuse('it has no area with the status +, so nothing would be copied');
  }
  const besideBytes = (first ?? 0) + sizeBytes - end;
  const beside = `${formatSize(besideBytes)} of the source are not in ${path}: they are copied`;
  return {
    leftOut: wholePages(leftOut.areas, sizeBytes),
    note: besideBytes === 0 ? undefined : beside,
  };
}

/** Joins neighbours as they come, so that a status for each sector costs no memory. */
export class FreeAreas {
  readonly #areas: [number, number][] = [];

  get areas(): readonly Area[] {
    return this.#areas;
  }

  /** @returns false if there are too many. */
  add(offset: number, length: number): boolean {
    const last = this.#areas.at(-1);
    if (last !== undefined && last[0] + last[1] === offset) last[1] += length;
    else this.#areas.push([offset, length]);
    return this.#areas.length <= LEFT_OUT_AREAS_MAX;
  }
}

/** @throws TransferError `usage`. */
export async function* linesOf(path: string): AsyncGenerator<string> {
  try {
    // Before it is opened: that would wait for the writer of a pipe.
    const stats = await stat(path);
    if (!stats.isFile()) throw new TransferError('usage', `cannot use the mapfile ${path}: it is not a file`);
    if (stats.size > MAPFILE_BYTES_MAX) {
      const size = `${formatSize(stats.size)}, more than ${formatSize(MAPFILE_BYTES_MAX)}`;
      throw new TransferError('usage', `cannot use the mapfile ${path}: it has ${size}`, { hint: HINT });
    }
    await using file = await open(path, 'r');
    yield* file.readLines();
  } catch (error) {
    if (error instanceof TransferError) throw error;
    throw new TransferError('usage', `cannot read the mapfile ${path}: ${reasonOf(error)}`, { cause: error });
  }
}
