/**
 * Reads around bad sectors: what can be read is read to its place, what cannot is reported sector by sector.
 */

/** The system's error for a read that returned nothing. */
export interface FailedRead {
  readonly error: unknown;
}

export interface BisectRead {
  /** First byte and the one past the last, in bytes of the source. */
  readonly from: number;
  readonly end: number;
  /** The smallest unit that the device reads; divides the offset of every block. */
  readonly sectorBytes: number;
  /**
   * Reads at least one byte of `[at, end)` to its place.
   * @returns how many, 0 at the end of the source. An exception ends the reading.
   */
  readSome(at: number, end: number): Promise<number | FailedRead>;
  /** `[at, end)`, a sector or a part of one, is unreadable. An exception ends the reading. */
  onUnreadable(at: number, end: number, error: unknown): void;
}

/**
 * In one read if that works. A range that fails is halved, first half first, down to single sectors: a bad
 * sector costs only itself, and nothing around it is shifted, dropped or padded.
 * @returns the end of what was tried: less than `end` if the source ends before.
 */
export async function bisectRead(reading: BisectRead): Promise<number> {
  return await readRange(reading, reading.from, reading.end);
}

async function readRange(reading: BisectRead, from: number, end: number): Promise<number> {
  let at = from;
  while (at < end) {
    // A read may be short before a bad sector, and at the end of a file.
    const bytesRead = await reading.readSome(at, end);
    if (typeof bytesRead !== 'number') return await readHalves(reading, at, end, bytesRead.error);
    if (bytesRead === 0) return at;
    at += bytesRead;
  }
  return end;
}

async function readHalves(reading: BisectRead, from: number, end: number, error: unknown): Promise<number> {
  const { sectorBytes } = reading;
  const sectorStart = from - (from % sectorBytes);
  if (end <= sectorStart + sectorBytes) {
    // From its start, even if a short read has ended within it: half a sector cannot be trusted.
    reading.onUnreadable(Math.max(sectorStart, reading.from), end, error);
    return end;
  }
  const sectors = Math.ceil((end - sectorStart) / sectorBytes);
  const middle = sectorStart + (sectors >> 1) * sectorBytes;
  const reached = await readRange(reading, from, middle);
  return reached < middle ? reached : await readRange(reading, middle, end);
}
