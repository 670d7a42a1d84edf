/** Reads around bad sectors: what can be read comes to its place, what can't is named, sector by sector. */

/** The system's error of a read of which nothing came. */
export interface FailedRead {
  readonly error: unknown;
}

export interface BisectRead {
  /** First byte and the one behind the last, in bytes of the source. */
  readonly from: number;
  readonly end: number;
  /** The least that the device reads; divides every offset at which a block begins. */
  readonly sectorBytes: number;
  /**
   * Reads at least a byte of `[at, end)` to its place.
   * @returns how many came, 0 at the end of the source. What it throws ends the reading.
   */
  readSome(at: number, end: number): Promise<number | FailedRead>;
  /** `[at, end)`, a sector or what there is of it, could not be read. What it throws ends the reading. */
  onUnreadable(at: number, end: number, error: unknown): void;
}

/**
 * In one go where that works. What fails is halved, the first half first, down to single sectors: a bad one
 * costs itself, and nothing around it is shifted, dropped or padded.
 * @returns the end of what was tried: less than `end` where the source ends before.
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
    // From its start on, should a short read have ended within it: half a sector is not to be believed.
    reading.onUnreadable(Math.max(sectorStart, reading.from), end, error);
    return end;
  }
  const sectors = Math.ceil((end - sectorStart) / sectorBytes);
  const middle = sectorStart + (sectors >> 1) * sectorBytes;
  const reached = await readRange(reading, from, middle);
  return reached < middle ? reached : await readRange(reading, middle, end);
}
