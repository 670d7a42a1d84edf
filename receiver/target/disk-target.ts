/**
 * A block device or a regular file as the target. Opened once, before the first write, and these descriptors
 * are kept: a write-back error is reported to descriptors that were open when it happened, and to no later
 * one. Slabs are written with O_DIRECT, past the page cache; what is not aligned (the tail) goes through it.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SLAB_ALIGNMENT_BYTES, SlabPool } from '../../common/io/buffers.ts';
import { openDirect, readDirect } from '../../common/io/direct-io.ts';
import { syncFolder } from '../../common/io/durable-file.ts';
import { TransferError, errnoOf, reasonOf, type ErrorCode } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import { roomOfFile } from './file-room.ts';
import { punchHole } from './punch-hole.ts';
import { runOn } from './run-on.ts';
import type { ReadBackMethod, Target, TargetIdentity, WriteMark } from './target.ts';
import { FileMarks, OwnMarks, openDeviceMarks, type WriteMarks } from './write-marks.ts';
import { Untouched } from './written-map.ts';

/** Below this a written zero costs less than starting `fallocate`. */
const FALLOCATE_BYTES_MIN = 1024 * 1024;
const ZEROS_BYTES = 1024 * 1024;

export class DiskTarget implements Target {
  readonly identity: TargetIdentity;
  readonly #buffered: FileHandle;
  readonly #direct: FileHandle | undefined;
  readonly #marks: WriteMarks;
  #canFallocate = true;
  /** Of a file that was empty when it was made ready. */
  #untouched: Untouched | undefined;
  readonly #zeros = new SlabPool({ slabSizeBytes: ZEROS_BYTES, slabCount: 1 });
  /** For the sector that a block ends in the middle of. */
  readonly #sectors: SlabPool;

  private constructor(
    identity: TargetIdentity,
    files: { buffered: FileHandle; direct: FileHandle | undefined; marks: WriteMarks },
  ) {
    this.identity = identity;
    this.#buffered = files.buffered;
    this.#direct = files.direct;
    this.#marks = files.marks;
    this.#sectors = new SlabPool({ slabSizeBytes: identity.logicalSectorBytes, slabCount: 1 });
  }

  /**
   * Opens the target for itself alone: O_EXCL on a device (EBUSY while mounted or claimed), flock(1) on a
   * file. A file that does not exist is made, empty.
   * @throws TransferError `target-refused`.
   */
  static async open(identity: TargetIdentity): Promise<DiskTarget> {
    const { path } = identity;
    const isDevice = identity.kind === 'device';
    let buffered: FileHandle | undefined;
    try {
      buffered = await open(
        path,
        constants.O_RDWR | (isDevice ? constants.O_EXCL : constants.O_CREAT),
        0o600,
      );
      if (!isDevice) await lockFile(buffered, path);
      const direct = await openDirect(path, 'read-write');
      // A file that was made just now is there after a power cut only when its folder was synced.
      if (!isDevice) await syncFolder(dirname(path));
      const { dev, ino } = await buffered.stat();
      const marks = isDevice ? await openDeviceMarks(buffered) : new FileMarks(buffered);
      if (isDevice && direct === undefined) marks?.loseCount();
      return new DiskTarget(
        { ...identity, fileId: isDevice ? null : `${dev}:${ino}` },
        { buffered, direct, marks: marks ?? new OwnMarks() },
      );
    } catch (error) {
      await buffered?.close();
      if (error instanceof TransferError) throw error;
      throw new TransferError('target-refused', `cannot open ${path} for writing: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  }

  async prepare(sizeBytes: number): Promise<void> {
    const { path, kind, sizeBytes: deviceBytes } = this.identity;
    if (kind === 'device') {
      if (deviceBytes !== null && deviceBytes >= sizeBytes) return;
      throw new TransferError(
        'target-too-small',
        `${path} is too small: it has ${deviceBytes} bytes, ` +
          `the source has ${sizeBytes} (${formatSize(sizeBytes)})`,
      );
    }
    try {
      const { size } = await this.#buffered.stat();
      await this.#buffered.truncate(sizeBytes);
      if (size === 0) this.#untouched = new Untouched(sizeBytes);
    } catch (error) {
      throw this.#writeError(`cannot make ${path} ${sizeBytes} bytes long`, error);
    }
  }

  async roomBytes(): Promise<number> {
    return this.identity.sizeBytes ?? (await roomOfFile(this.identity.path));
  }

  async write(bytes: Buffer, offset: number): Promise<void> {
    this.#untouched?.touch(offset, bytes.length);
    this.#marks.begin(bytes.length);
    try {
      await this.#writeAll(bytes, offset);
    } catch (error) {
      this.#marks.fail();
      throw this.#writeError(this.#writing(offset, bytes.length), error);
    }
    this.#marks.end();
  }

  /** Past the page cache as far as that is possible; the kernel's count of a device is exact only there. */
  async #writeAll(bytes: Buffer, offset: number): Promise<void> {
    const isDevice = this.identity.kind === 'device';
    const unitBytes = isDevice ? this.identity.logicalSectorBytes : SLAB_ALIGNMENT_BYTES;
    const isAligned = bytes.byteOffset % SLAB_ALIGNMENT_BYTES === 0 && offset % unitBytes === 0;
    const directBytes = isAligned ? bytes.length - (bytes.length % unitBytes) : 0;
    let done = 0;
    if (this.#direct !== undefined && isAligned) {
      try {
        done = await this.#writeFully(this.#direct, bytes.subarray(0, directBytes), offset);
        const rest = bytes.subarray(done);
        if (isDevice && rest.length > 0 && (await this.#writeInSector(this.#direct, rest, offset + done)))
          return;
      } catch (error) {
        // EINVAL: this file system or this buffer does not do O_DIRECT (open(2), NOTES); the page cache takes
        // it.
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
  async #writeInSector(direct: FileHandle, bytes: Buffer, offset: number): Promise<boolean> {
    using slab = await this.#sectors.take();
    const sectorBytes = this.identity.logicalSectorBytes;
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
      const [runBytes, isTouched] = this.#untouched?.runFrom(at, end - at) ?? [end - at, true];
      if (isTouched) await this.#makeZero(at, runBytes);
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
      this.#canFallocate = outcome !== 'not-offered';
    }
    if (at === end) return;
    using zeros = await this.#zeros.take();
    for (; at < end; at += ZEROS_BYTES) {
      await this.write(zeros.bytes.subarray(0, Math.min(ZEROS_BYTES, end - at)), at);
    }
  }

  async #punchHole(offset: number, lengthBytes: number): ReturnType<typeof punchHole> {
    let outcome: Awaited<ReturnType<typeof punchHole>> = 'failed';
    this.#marks.begin(lengthBytes);
    try {
      outcome = await punchHole(this.#buffered, offset, lengthBytes);
    } finally {
      if (outcome === 'done') this.#marks.end();
      else if (outcome === 'not-offered') this.#marks.cancel(lengthBytes);
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
    // POSIX_FADV_DONTNEED for the whole file, through dd(1): what was flushed leaves the cache.
    const drop = ['if=/dev/fd/3', 'iflag=nocache', 'count=0', 'status=none'];
    if (!(await runOn(this.#buffered, 'dd', drop)).isDone) throw this.#cacheKept();
    await this.read(into, offset);
    return 'cache-dropped';
  }

  async flush(): Promise<void> {
    try {
      // Both descriptors are of one inode: this writes back its cached pages and flushes the device's own
      // cache.
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

  /** write(2) may take less than it was given. */
  async #writeFully(handle: FileHandle, bytes: Buffer, offset: number): Promise<number> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    }
    return done;
  }

  /** Else what was written would be compared with itself. */
  #cacheKept(): TransferError {
    return new TransferError(
      'target-refused',
      `cannot drop ${this.identity.path} from the page cache to read it back: dd iflag=nocache failed`,
      { hint: 'install the dd of GNU coreutils; then the same command goes on' },
    );
  }

  #writing(offset: number, lengthBytes: number): string {
    return `cannot write ${lengthBytes} bytes at offset ${offset} to ${this.identity.path}`;
  }

  #writeError(what: string, cause: unknown): TransferError {
    const errno = errnoOf(cause);
    return new TransferError(codeOfWrite(errno), `${what}: ${reasonOf(cause)}`, {
      cause,
      details: { errno },
    });
  }
}

function codeOfWrite(errno: string | undefined): ErrorCode {
  if (errno === 'ENOSPC' || errno === 'EDQUOT') return 'no-space';
  // The file system can't hold a file of this size: waiting does not help.
  return errno === 'EFBIG' ? 'target-too-small' : 'io-error';
}

/** flock(2) through flock(1): the lock belongs to our descriptor, which the child only borrows. */
async function lockFile(handle: FileHandle, path: string): Promise<void> {
  if ((await runOn(handle, 'flock', ['--exclusive', '--nonblock', '3'])).isDone) return;
  throw new TransferError(
    'target-refused',
    `another process, perhaps another ddt-receive, is writing ${path}`,
  );
}
