/**
 * A block device or a regular file as the source. Read with O_DIRECT where that works, to leave the page
 * cache to others.
 */
import { existsSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { joinAreas, type Area } from '../../common/areas.ts';
import { SYS_FOLDER } from '../../common/disk/block-devices.ts';
import { SLAB_ALIGNMENT_BYTES } from '../../common/io/buffers.ts';
import { openDirect, readDirect } from '../../common/io/direct-io.ts';
import { ZeroRuns } from '../../common/io/zero-runs.ts';
import { deviceSizeBytesOf, type DiskDescription } from '../../common/disk/disks.ts';
import { openDisk, type OpenDisk } from '../../common/disk/open-disk.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import { bisectRead, type FailedRead } from '../bad-sectors/bisect-read.ts';
import { ReadErrors, type OnReadError } from '../bad-sectors/read-errors.ts';
import { ReadMap } from '../bad-sectors/read-map.ts';
import {
  OPTICAL_SECTOR_BYTES,
  VOLUME_DESCRIPTOR_OFFSET,
  runOutOf,
  type RunOut,
} from '../bad-sectors/optical-run-out.ts';
import type { Source } from './source.ts';

export class DiskSource implements Source {
  readonly canReread = true;
  readonly disk: OpenDisk;
  readonly description: SourceDescription;
  readonly sizeBytes: number;
  readonly map: ReadMap;
  readonly runOut: RunOut | undefined;
  readonly #direct: FileHandle | undefined;
  readonly #zeros: ZeroRuns | undefined;
  readonly #errors: ReadErrors;

  private constructor(
    disk: OpenDisk,
    direct: FileHandle | undefined,
    reading: { onReadError: OnReadError; runOut: RunOut | undefined },
  ) {
    const { description, path, model, serial, byId, sizeBytes } = disk.description;
    this.disk = disk;
    this.description = { description, path, model, serial, byId };
    this.sizeBytes = sizeBytes;
    this.map = new ReadMap(sizeBytes);
    this.runOut = reading.runOut;
    this.#direct = direct;
    this.#zeros = direct === undefined ? undefined : new ZeroRuns(direct);
    this.#errors = new ReadErrors({
      path,
      map: this.map,
      ...reading,
      isGone: () => isGone(disk.description),
    });
  }

  /** @throws TransferError `source-refused`. */
  static async open(path: string, onReadError: OnReadError = 'stop'): Promise<DiskSource> {
    const disk = await openDisk(path, 'source-refused');
    try {
      const direct = await openDirect(disk.handle, 'read');
      return new DiskSource(disk, direct, { onReadError, runOut: await findRunOut(disk) });
    } catch (error) {
      await disk[Symbol.asyncDispose]();
      const message = `cannot open ${path} for reading: ${reasonOf(error)}`;
      throw new TransferError('source-refused', message, { cause: error });
    }
  }

  async read(into: Buffer<ArrayBuffer>, offset: number, signal?: AbortSignal): Promise<readonly Area[]> {
    const unreadable: Area[] = [];
    const reached = await bisectRead({
      from: offset,
      end: offset + into.length,
      sectorBytes: this.disk.description.logicalSectorBytes,
      readSome: async (at, end) => {
        // Reading a bad area may take hours.
        signal?.throwIfAborted();
        return await this.#readSome(into.subarray(0, end - offset), at - offset, offset);
      },
      onUnreadable: (at, end, error) => {
        this.#errors.note(at, end - at, error);
        into.fill(0, at - offset, end - offset);
        unreadable.push([at, end - at]);
      },
    });
    if (reached === offset + into.length) return joinAreas(unreadable);
    const { path } = this.description;
    throw new TransferError(
      'source-changed',
      `${path} ends at ${reached} now; it had ${this.sizeBytes} bytes before`,
    );
  }

  async countZeros(offset: number, blockBytes: number, count: number): Promise<number> {
    // What a mapfile spares, or lists as unreadable, is not touched beyond its own block.
    if (!this.map.isUntried(offset, blockBytes * count)) return 0;
    return (await this.#zeros?.count(offset, blockBytes, count)) ?? 0;
  }

  async presentSizeBytes(): Promise<number> {
    const { majorMinor, path } = this.disk.description;
    if (majorMinor !== null) return await deviceSizeBytesOf(majorMinor);
    try {
      return (await this.disk.handle.stat()).size;
    } catch (error) {
      const message = `cannot read the size of ${path}: ${reasonOf(error)}`;
      throw new TransferError('source-read', message, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#zeros?.[Symbol.asyncDispose]();
    await this.#direct?.close();
    await this.disk[Symbol.asyncDispose]();
  }

  async #readSome(into: Buffer<ArrayBuffer>, done: number, offset: number): Promise<number | FailedRead> {
    const at = offset + done;
    const left = into.length - done;
    try {
      const direct =
        this.#direct === undefined
          ? 0
          : await readDirect(this.#direct, into, done, offset, this.#alignmentOf(at, at + left));
      // At the end, or if O_DIRECT cannot read here, the page cache decides.
      if (direct !== undefined && direct > 0) return direct;
      return (await this.disk.handle.read(into, done, left, at)).bytesRead;
    } catch (error) {
      this.#errors.refuse(at, left, error);
      return { error };
    }
  }

  /**
   * Whole pages, unless a part of a block is read again sector by sector: not every file system takes those.
   */
  #alignmentOf(at: number, end: number): number {
    const isWhole = (place: number): boolean =>
      place % SLAB_ALIGNMENT_BYTES === 0 || place === this.sizeBytes;
    return isWhole(at) && isWhole(end) ? SLAB_ALIGNMENT_BYTES : this.disk.description.logicalSectorBytes;
  }
}

/** A device that was unplugged leaves sysfs at once, whatever errors its open descriptors give. */
function isGone({ majorMinor }: DiskDescription): boolean {
  return majorMinor !== null && !existsSync(`${SYS_FOLDER}/dev/block/${majorMinor}`);
}

async function findRunOut({ description, handle }: OpenDisk): Promise<RunOut | undefined> {
  if (description.logicalSectorBytes !== OPTICAL_SECTOR_BYTES) return undefined;
  try {
    const descriptor = Buffer.alloc(OPTICAL_SECTOR_BYTES);
    await handle.read(descriptor, 0, descriptor.length, VOLUME_DESCRIPTOR_OFFSET);
    return runOutOf(description, descriptor);
  } catch {
    // It will be found again as a bad sector.
    return undefined;
  }
}
