/**
 * Finds out whether other programs write to the target. For a block device the kernel counts the sectors
 * written and discarded by all programs; the excess over our own is foreign. Of a file only the size and the
 * times are known.
 */
import { readFile, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { join } from 'node:path';
import {
  deviceFolderOf,
  diskFolderOf,
  majorMinorOf,
  partitionFoldersOf,
} from '../../common/disk/block-devices.ts';
import type { WriteMark } from './target.ts';

/** The unit of the kernel's block statistics (Documentation/block/stat.rst), whatever the sectors are. */
const STAT_SECTOR_BYTES = 512;
const WRITTEN_FIELD = 6;
const DISCARDED_FIELD = 13;
/** Other partitions of a busy disk may be written while the counters are read, which takes a millisecond. */
const STEADY_ATTEMPTS = 20;
/**
 * File times advance with the kernel's tick, 10 ms at most: a second write within one tick does not change
 * them. The times must therefore have been the same for longer than a tick before they count as a mark.
 */
const TICK_MS = 20;
/** A file that changes in every tick for this long has a busy writer; waiting longer would not end. */
export const BUSY_FILE_MS = 1000;

export interface WriteMarks {
  /** Call it before each write that bypasses the page cache, and one of the next three after it. */
  begin(lengthBytes: number): void;
  end(): void;
  /** Nothing was written. */
  cancel(lengthBytes: number): void;
  /** The write failed: nobody knows how much of it the device took. */
  fail(): void;
  /** Some writes of this process go through the page cache, which rounds them up to pages. */
  loseCount(): void;
  mark(): Promise<WriteMark>;
}

/** @returns undefined where the kernel keeps no count for this device. */
export async function openDeviceMarks(handle: FileHandle): Promise<WriteMarks | undefined> {
  const { rdev } = await handle.stat({ bigint: true });
  try {
    const folder = await deviceFolderOf(majorMinorOf(rdev));
    const diskFolder = await diskFolderOf(folder);
    const countBytes = async (): Promise<number> => await countOf(folder, diskFolder);
    return new DeviceMarks(countBytes, await countBytes());
  } catch {
    return undefined;
  }
}

/**
 * Bytes written to and discarded from the device since it was made. A write through the node of the whole
 * disk counts for no partition, wherever it goes: a partition's count is that of its disk less those of the
 * other partitions.
 */
async function countOf(folder: string, diskFolder: string): Promise<number> {
  if (folder === diskFolder) return await countIn(folder);
  for (let attempt = 1; ; attempt++) {
    const others = await countOfOthers(folder, diskFolder);
    const all = await countIn(diskFolder);
    // A write to another partition in between would count as foreign: too much rather than too little.
    const isSteady = others === (await countOfOthers(folder, diskFolder));
    if (isSteady || attempt === STEADY_ATTEMPTS) return all - others;
  }
}

async function countOfOthers(folder: string, diskFolder: string): Promise<number> {
  const partitions = await partitionFoldersOf(diskFolder);
  const counts = await Promise.all(partitions.filter((each) => each !== folder).map(countIn));
  return counts.reduce((total, bytes) => total + bytes, 0);
}

async function countIn(deviceFolder: string): Promise<number> {
  const path = join(deviceFolder, 'stat');
  const fields = (await readFile(path, 'latin1')).trim().split(/\s+/).map(Number);
  const sectors = (fields[WRITTEN_FIELD] ?? NaN) + (fields[DISCARDED_FIELD] ?? 0);
  if (!Number.isSafeInteger(sectors)) throw new Error(`no count of written sectors in ${path}`);
  return sectors * STAT_SECTOR_BYTES;
}

class DeviceMarks implements WriteMarks {
  readonly #readCount: () => Promise<number>;
  #baseBytes: number;
  #ownBytes = 0;
  #inProgress = 0;
  /** Writes begun so far: shows whether one began, and perhaps ended, while the counter was being read. */
  #begun = 0;
  /** Changes whenever the base does, so that marks before and after it never compare equal. */
  #rebases = 0;
  #isRebasePending = false;
  #isExact = true;

  constructor(readCount: () => Promise<number>, baseBytes: number) {
    this.#readCount = readCount;
    this.#baseBytes = baseBytes;
  }

  begin(lengthBytes: number): void {
    this.#ownBytes += lengthBytes;
    this.#inProgress++;
    this.#begun++;
  }

  end(): void {
    this.#inProgress--;
  }

  cancel(lengthBytes: number): void {
    this.#inProgress--;
    this.#ownBytes -= lengthBytes;
  }

  fail(): void {
    this.#inProgress--;
    this.#rebases++;
    this.#isRebasePending = true;
  }

  loseCount(): void {
    this.#isExact = false;
  }

  async mark(): Promise<WriteMark> {
    const begun = this.#inProgress === 0 ? this.#begun : undefined;
    const countBytes = await this.#readCount();
    // No write of ours was in progress at any time while the counter was read.
    const isQuiet = begun === this.#begun;
    if (this.#isExact && this.#isRebasePending && isQuiet) {
      this.#isRebasePending = false;
      this.#rebases++;
      this.#baseBytes = countBytes;
      this.#ownBytes = 0;
    }
    const foreignBytes = countBytes - this.#baseBytes - this.#ownBytes;
    // The kernel does not count all of our writes.
    if (foreignBytes < 0 && isQuiet) this.loseCount();
    if (!this.#isExact) return { foreignBytes: null, stamp: String(countBytes) };
    return { foreignBytes: Math.max(0, foreignBytes), stamp: String(this.#rebases) };
  }
}

/** For a regular file, whose times change with every write, including our own. */
export class FileMarks implements WriteMarks {
  readonly #handle: FileHandle;
  #seen: { readonly stamp: string; readonly sinceMs: number } | undefined;
  #busyCount = 0;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  begin(): void {}
  end(): void {}
  cancel(): void {}
  fail(): void {}
  loseCount(): void {}

  async mark(): Promise<WriteMark> {
    const startMs = performance.now();
    for (;;) {
      const { size, mtimeNs, ctimeNs } = await this.#handle.stat({ bigint: true });
      const stamp = `${size} ${mtimeNs} ${ctimeNs}`;
      const nowMs = performance.now();
      if (this.#seen?.stamp !== stamp) this.#seen = { stamp, sinceMs: nowMs };
      const leftMs = this.#seen.sinceMs + TICK_MS - nowMs;
      if (leftMs <= 0) return { foreignBytes: null, stamp };
      // Equal to no other mark: the file counts as changed.
      if (nowMs - startMs > BUSY_FILE_MS) {
        return { foreignBytes: null, stamp: `${stamp} busy ${++this.#busyCount}` };
      }
      await delay(leftMs);
    }
  }
}

/**
 * For a device without a counter. Only writes of this process change the mark, so everything is read back
 * once more after the last one; writes of other programs after that reading go unnoticed.
 */
export class OwnMarks implements WriteMarks {
  #count = 0;

  begin(): void {
    this.#count++;
  }

  end(): void {}
  cancel(): void {}
  fail(): void {}
  loseCount(): void {}

  async mark(): Promise<WriteMark> {
    return await Promise.resolve({ foreignBytes: null, stamp: String(this.#count) });
  }
}
