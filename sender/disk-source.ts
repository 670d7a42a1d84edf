/**
 * A block device or a regular file as the source. Read with O_DIRECT where that works: the cache is left to
 * others.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { openDirect, readDirect } from '../common/direct-io.ts';
import { describeDisk, deviceSizeBytesOf, type DiskDescription } from '../common/disks.ts';
import { TransferError, errnoOf, reasonOf } from '../common/errors.ts';
import type { SourceDescription } from '../common/protocol.ts';
import type { Source } from './source.ts';

export class DiskSource implements Source {
  readonly disk: DiskDescription;
  readonly description: SourceDescription;
  readonly sizeBytes: number;
  readonly #buffered: FileHandle;
  readonly #direct: FileHandle | undefined;

  private constructor(
    disk: DiskDescription,
    handles: { buffered: FileHandle; direct: FileHandle | undefined },
  ) {
    const { description, path, model, serial, byId } = disk;
    this.disk = disk;
    this.description = { description, path, model, serial, byId };
    this.sizeBytes = disk.sizeBytes;
    this.#buffered = handles.buffered;
    this.#direct = handles.direct;
  }

  /** @throws TransferError `source-refused`. */
  static async open(path: string): Promise<DiskSource> {
    const disk = await describeDisk(path, 'source-refused');
    try {
      const buffered = await open(disk.realPath, constants.O_RDONLY);
      const direct = await openDirect(disk.realPath, 'read');
      return new DiskSource(disk, { buffered, direct });
    } catch (error) {
      const hint = errnoOf(error) === 'EACCES' ? 'disks are read as root: sudo ddt-send …' : undefined;
      throw new TransferError('source-refused', `cannot open ${path} for reading: ${reasonOf(error)}`, {
        cause: error,
        ...(hint === undefined ? {} : { hint }),
      });
    }
  }

  async read(into: Buffer<ArrayBuffer>, offset: number): Promise<void> {
    let done = 0;
    while (done < into.length) {
      const bytesRead = await this.#readSome(into, done, offset);
      if (bytesRead === 0) {
        throw new TransferError(
          'source-changed',
          `${this.description.path} ends at ${offset + done} now, it had ${this.sizeBytes} bytes before`,
        );
      }
      done += bytesRead;
    }
  }

  async presentSizeBytes(): Promise<number> {
    const { majorMinor, path } = this.disk;
    if (majorMinor !== null) return await deviceSizeBytesOf(majorMinor);
    try {
      return (await this.#buffered.stat()).size;
    } catch (error) {
      const message = `cannot see how large ${path} is now: ${reasonOf(error)}`;
      throw new TransferError('source-read', message, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#direct?.close();
    await this.#buffered.close();
  }

  /** A read may be short before a bad sector, and at the end of a file: the caller goes on behind it. */
  async #readSome(into: Buffer<ArrayBuffer>, done: number, offset: number): Promise<number> {
    const at = offset + done;
    const left = into.length - done;
    try {
      const direct = this.#direct === undefined ? 0 : await readDirect(this.#direct, into, done, offset);
      // At the end, or where O_DIRECT can't read, the page cache has the last word.
      if (direct !== undefined && direct > 0) return direct;
      return (await this.#buffered.read(into, done, left, at)).bytesRead;
    } catch (error) {
      const what = `cannot read ${left} bytes at offset ${at} of ${this.description.path}`;
      throw new TransferError('source-read', `${what}: ${reasonOf(error)}`, {
        cause: error,
        hint: 'what was sent is safe; run the same command again to go on',
      });
    }
  }
}
