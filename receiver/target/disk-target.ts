/**
 * What block devices and regular files have in common as targets. Both are opened once, before the first
 * write, and keep their descriptors: the kernel reports a write-back error only to descriptors that were open
 * when it happened. Slabs are written with O_DIRECT; what is not aligned (the tail) goes through the page
 * cache.
 */
import type { FileHandle } from 'node:fs/promises';
import { SLAB_ALIGNMENT_BYTES, SlabPool } from '../../common/io/buffers.ts';
import { readDirect } from '../../common/io/direct-io.ts';
import { ZeroRuns } from '../../common/io/zero-runs.ts';
import { changeOf } from '../../common/disk/open-disk.ts';
import { TransferError, errnoOf, reasonOf, type ErrorCode } from '../../common/errors.ts';
import type { DiskTools } from './disk-tools.ts';
import { changedTarget } from './target-safety.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { Target, TargetIdentity, WriteMark } from './target.ts';
import type { WriteMarks } from './write-marks.ts';
import { WrittenMap } from './written-map.ts';

/** Below this a written zero costs less than starting `fallocate`. */
const FALLOCATE_BYTES_MIN = 1024 * 1024;
const ZEROS_BYTES = 1024 * 1024;

/** Two descriptors of one device or file. */
export interface DiskHandles {
  readonly buffered: FileHandle;
  /** With O_DIRECT; undefined where that does not work. */
  readonly direct: FileHandle | undefined;
  /** Counts the writes of this process, and tells those of others. */
  readonly marks: WriteMarks;
  readonly tools: DiskTools;
}

export abstract class DiskTarget implements Target {
  abstract readonly isSizeFixed: boolean;
  abstract readonly sectorBytes: number | null;
  readonly identity: TargetIdentity;
  readonly #buffered: FileHandle;
  readonly #direct: FileHandle | undefined;
  /** One for each reader of the verifier, used in turn. */
  readonly #zeroRuns: readonly ZeroRuns[];
  #countings = 0;
  readonly #marks: WriteMarks;
  readonly #tools: DiskTools;
  #canFallocate = true;
  /** undefined: all of it may hold anything. */
  #written: WrittenMap | undefined;
  readonly #zeros = new SlabPool({ slabSizeBytes: ZEROS_BYTES, slabCount: 1 });
  /** For the sector that a block ends in the middle of. */
  readonly #sectors = new SlabPool({ slabSizeBytes: SLAB_ALIGNMENT_BYTES, slabCount: 1 });

  protected constructor(identity: TargetIdentity, { buffered, direct, marks, tools }: DiskHandles) {
    this.identity = identity;
    this.#buffered = buffered;
    this.#direct = direct;
    this.#zeroRuns = direct === undefined ? [] : [new ZeroRuns(direct), new ZeroRuns(direct)];
    this.#marks = marks;
    this.#tools = tools;
  }

  async confirm(): Promise<void> {
    let change: string | undefined;
    try {
      change = await changeOf(this.identity, this.#buffered);
    } catch (error) {
      change = reasonOf(error);
    }
    if (change !== undefined) throw changedTarget(this.identity.path, change);
  }

  abstract prepare(sizeBytes: number): Promise<void>;
  abstract lengthBytes(): Promise<number>;
  abstract roomBytes(): Promise<number>;

  /** It reads as zeros from its first to its last byte; called before anything is written. */
  protected setAllZero(sizeBytes: number): void {
    this.#written = new WrittenMap(sizeBytes);
  }

  async write(bytes: Buffer, offset: number): Promise<void> {
    this.#written?.add(offset, bytes.length);
    this.#marks.begin(bytes.length);
    try {
      await this.#writeAll(bytes, offset);
    } catch (error) {
      this.#marks.fail();
      throw this.writeError(this.#writing(offset, bytes.length), error);
    }
    this.#marks.end();
  }

  /** Past the page cache as far as that works; the kernel's count of a device is exact only there. */
  async #writeAll(bytes: Buffer, offset: number): Promise<void> {
    const { sectorBytes } = this;
    const unitBytes = sectorBytes ?? SLAB_ALIGNMENT_BYTES;
    const isAligned = bytes.byteOffset % SLAB_ALIGNMENT_BYTES === 0 && offset % unitBytes === 0;
    const directBytes = isAligned ? bytes.length - (bytes.length % unitBytes) : 0;
    let done = 0;
    if (this.#direct !== undefined && isAligned) {
      try {
        done = await this.#writeFully(this.#direct, bytes.subarray(0, directBytes), offset);
        const rest = bytes.subarray(done);
        const isInSector = sectorBytes !== null && rest.length > 0;
        if (isInSector && (await this.#writeInSector(this.#direct, rest, offset + done, sectorBytes))) return;
      } catch (error) {
        // EINVAL: O_DIRECT does not work with this file system or buffer (open(2), NOTES); the page cache
        // does.
        if (errnoOf(error) !== 'EINVAL') throw error;
      }
    }
    if (done === bytes.length) return;
    this.#marks.loseCount();
    await this.#writeFully(this.#buffered, bytes.subarray(done), offset + done);
  }

  /**
   * What follows in the sector stays. @param bytes the first of a sector, less than all of it.
   * @returns whether the device's sectors are as it says.
   */
  async #writeInSector(
    direct: FileHandle,
    bytes: Buffer,
    offset: number,
    sectorBytes: number,
  ): Promise<boolean> {
    using slab = await this.#sectors.take();
    const sector = slab.bytes.subarray(0, sectorBytes);
    const bytesRead = await readDirect(direct, sector, 0, offset, sectorBytes);
    if (bytesRead !== sectorBytes) return false;
    bytes.copy(sector);
    this.#marks.begin(sectorBytes - bytes.length);
    try {
      await this.#writeFully(direct, sector, offset);
    } finally {
      this.#marks.end();
    }
    return true;
  }

  async writeZeros(offset: number, lengthBytes: number): Promise<void> {
    const end = offset + lengthBytes;
    for (let at = offset; at < end;) {
      const [runBytes, isWritten] = this.#written?.runFrom(at, end - at) ?? [end - at, true];
      if (isWritten) await this.#makeZero(at, runBytes);
      at += runBytes;
    }
  }

  async #makeZero(offset: number, lengthBytes: number): Promise<void> {
    const end = offset + lengthBytes;
    let at = offset;
    const punchable = lengthBytes - (lengthBytes % SLAB_ALIGNMENT_BYTES);
    if (this.#canFallocate && offset % SLAB_ALIGNMENT_BYTES === 0 && punchable >= FALLOCATE_BYTES_MIN) {
      const outcome = await this.#punchHole(offset, punchable);
      if (outcome === 'done') at += punchable;
      this.#canFallocate = outcome !== 'not-supported';
    }
    if (at === end) return;
    using zeros = await this.#zeros.take();
    for (; at < end; at += ZEROS_BYTES) {
      await this.write(zeros.bytes.subarray(0, Math.min(ZEROS_BYTES, end - at)), at);
    }
  }

  async #punchHole(offset: number, lengthBytes: number): ReturnType<DiskTools['punchHole']> {
    let outcome: Awaited<ReturnType<DiskTools['punchHole']>> = 'failed';
    this.#marks.begin(lengthBytes);
    try {
      outcome = await this.#tools.punchHole(offset, lengthBytes);
    } finally {
      if (outcome === 'done') this.#marks.end();
      else if (outcome === 'not-supported') this.#marks.cancel(lengthBytes);
      else this.#marks.fail();
    }
    return outcome;
  }

  async read(into: Buffer, offset: number): Promise<void> {
    for (let done = 0; done < into.length;) {
      let bytesRead = 0;
      try {
        ({ bytesRead } = await this.#buffered.read(into, done, into.length - done, offset + done));
      } catch (error) {
        const what = `cannot read ${into.length} bytes at offset ${offset} of ${this.identity.path}`;
        throw new TransferError('io-error', `${what}: ${reasonOf(error)}`, { cause: error });
      }
      if (bytesRead === 0) {
        throw new TransferError(
          'io-error',
          `${this.identity.path} ends before offset ${offset + into.length}`,
        );
      }
      done += bytesRead;
    }
  }

  async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    try {
      if (await this.#readAllDirect(into, offset)) return 'direct';
    } catch (error) {
      const what = `cannot read back ${into.length} bytes at offset ${offset} of ${this.identity.path}`;
      throw new TransferError('io-error', `${what}: ${reasonOf(error)}`, { cause: error });
    }
    if (!(await this.#tools.dropFromCache())) throw this.#cacheKept();
    await this.read(into, offset);
    return 'cache-dropped';
  }

  async countZeros(offset: number, blockBytes: number, count: number): Promise<number> {
    const runs = this.#zeroRuns[this.#countings++ % this.#zeroRuns.length];
    return (await runs?.count(offset, blockBytes, count)) ?? 0;
  }

  async flush(): Promise<void> {
    try {
      // Covers both descriptors: it writes back the inode's cached pages and flushes the device's own cache.
      await this.#buffered.datasync();
    } catch (error) {
      const errno = errnoOf(error);
      throw new TransferError('io-error', `cannot flush ${this.identity.path}: ${reasonOf(error)}`, {
        cause: error,
        details: { errno },
      });
    }
  }

  async writeMark(): Promise<WriteMark> {
    try {
      return await this.#marks.mark();
    } catch (error) {
      const what = `cannot tell whether others wrote to ${this.identity.path}`;
      throw new TransferError('io-error', `${what}: ${reasonOf(error)}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    await this.#tools.close();
    for (const runs of this.#zeroRuns) await runs[Symbol.asyncDispose]();
    await this.#direct?.close();
    await this.#buffered.close();
  }

  async #readAllDirect(into: Buffer<ArrayBuffer>, offset: number): Promise<boolean> {
    if (this.#direct === undefined) return false;
    for (let done = 0; done < into.length;) {
      const bytesRead = await readDirect(this.#direct, into, done, offset);
      if (bytesRead === undefined || bytesRead === 0) return false;
      done += bytesRead;
    }
    return true;
  }

  /** write(2) may write less than asked. */
  async #writeFully(handle: FileHandle, bytes: Buffer, offset: number): Promise<number> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    }
    return done;
  }

  /** A page cache that was not dropped would be compared with itself. */
  #cacheKept(): TransferError {
    return new TransferError(
      'target-refused',
      `cannot drop ${this.identity.path} from the page cache to read it back: dd iflag=nocache failed`,
      { hint: 'install the dd of GNU coreutils, then run the same command again to resume' },
    );
  }

  #writing(offset: number, lengthBytes: number): string {
    return `cannot write ${lengthBytes} bytes at offset ${offset} to ${this.identity.path}`;
  }

  protected writeError(what: string, cause: unknown): TransferError {
    const errno = errnoOf(cause);
    return new TransferError(codeOfWrite(errno), `${what}: ${reasonOf(cause)}`, {
      cause,
      details: { errno },
    });
  }
}

function codeOfWrite(errno: string | undefined): ErrorCode {
  if (errno === 'ENOSPC' || errno === 'EDQUOT') return 'no-space';
  // The file system can't hold a file of this size: waiting would not help.
  return errno === 'EFBIG' ? 'target-too-small' : 'io-error';
}
