/**
 * Who else writes to the target. For a block device the kernel counts the sectors that were written and
 * discarded, whoever did it; what is more than ours is foreign. For a file only its size and times are known.
 */
import { readFile, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { join } from 'node:path';
import { SYS_FOLDER, majorMinorOf } from '../../common/disk/block-devices.ts';
import type { WriteMark } from './target.ts';

/** The unit of the kernel's block statistics (Documentation/block/stat.rst), whatever the sectors are. */
const STAT_SECTOR_BYTES = 512;
const WRITTEN_FIELD = 6;
const DISCARDED_FIELD = 13;
/**
 * File times advance with the kernel's tick, 10 ms at most: a write within the tick of the last one would not
 * change them, so a mark has to be older than that.
 */
const TICK_MS = 20;

export interface WriteMarks {
  /** To be called around each write of this process that reaches the device directly. */
  begin(lengthBytes: number): void;
  /** Nothing of it was written. */
  cancel(lengthBytes: number): void;
  /** It failed: how much of it was written is unknown. */
  fail(): void;
  end(): void;
  /** From now on some writes of this process go through the page cache, which rounds them up. */
  loseCount(): void;
  mark(): Promise<WriteMark>;
}

/** @returns undefined where the kernel keeps no count for this device. */
export async function openDeviceMarks(handle: FileHandle): Promise<WriteMarks | undefined> {
  const { rdev } = await handle.stat({ bigint: true });
  const path = join(SYS_FOLDER, 'dev/block', majorMinorOf(rdev), 'stat');
  try {
    return new DeviceMarks(path, await countIn(path));
  } catch {
    return undefined;
  }
}

/** Bytes written to and discarded from the device since it was made. */
async function countIn(path: string): Promise<number> {
  const fields = (await readFile(path, 'latin1')).trim().split(/\s+/).map(Number);
  const sectors = (fields[WRITTEN_FIELD] ?? NaN) + (fields[DISCARDED_FIELD] ?? 0);
  if (!Number.isSafeInteger(sectors)) throw new Error(`no count of written sectors in ${path}`);
  return sectors * STAT_SECTOR_BYTES;
}

class DeviceMarks implements WriteMarks {
  readonly #path: string;
  #baseBytes: number;
  #ownBytes = 0;
  #inProgress = 0;
  /** How often the count of our own bytes was lost. */
  #rebases = 0;
  #isRebasePending = false;
  #isExact = true;

  constructor(path: string, baseBytes: number) {
    this.#path = path;
    this.#baseBytes = baseBytes;
  }

  begin(lengthBytes: number): void {
    this.#ownBytes += lengthBytes;
    this.#inProgress++;
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
    const countBytes = await countIn(this.#path);
    if (!this.#isExact) return { foreignBytes: null, stamp: String(countBytes) };
    if (this.#isRebasePending && this.#inProgress === 0) {
      this.#isRebasePending = false;
      this.#baseBytes = countBytes;
      this.#ownBytes = 0;
    }
    const foreignBytes = countBytes - this.#baseBytes - this.#ownBytes;
    // Whatever is still in progress may or may not have been counted yet; what has ended must have been.
    if (foreignBytes < 0 && this.#inProgress === 0) {
      this.loseCount();
      return { foreignBytes: null, stamp: String(countBytes) };
    }
    return { foreignBytes: Math.max(0, foreignBytes), stamp: String(this.#rebases) };
  }
}

/** Of a regular file: every write, ours too, changes its times. */
export class FileMarks implements WriteMarks {
  readonly #handle: FileHandle;
  #seen: { readonly stamp: string; readonly sinceMs: number } | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  begin(): void {}
  end(): void {}
  cancel(): void {}
  fail(): void {}
  loseCount(): void {}

  async mark(): Promise<WriteMark> {
    for (;;) {
      const { size, mtimeNs, ctimeNs } = await this.#handle.stat({ bigint: true });
      const stamp = `${size} ${mtimeNs} ${ctimeNs}`;
      const nowMs = performance.now();
      if (this.#seen?.stamp !== stamp) this.#seen = { stamp, sinceMs: nowMs };
      const leftMs = this.#seen.sinceMs + TICK_MS - nowMs;
      if (leftMs <= 0) return { foreignBytes: null, stamp };
      await delay(leftMs);
    }
  }
}

/**
 * Of a device without a count: only the writes of this process change the mark, so that everything is read
 * back once more after the last of them.
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
