/** An export of an NBD server as the source; an image or a volume of Ceph, through a qemu-nbd of our own. */
import { stat } from 'node:fs/promises';
import { joinAreas, SECTOR_BYTES, type Area } from '../../common/areas.ts';
import { openDisk, type OpenDisk } from '../../common/disk/open-disk.ts';
import type { FormatChoice } from '../../common/nbd/image-format.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import type { TellOutage } from '../../common/nbd/nbd-export.ts';
import { NbdError } from '../../common/nbd/nbd-wire.ts';
import { isNbdUri } from '../../common/nbd/nbd-uri.ts';
import {
  imageFormatOf,
  openImage,
  openRbd,
  openUri,
  refuseFormat,
  type OpenedExport,
} from '../../common/nbd/open-image.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import { bisectRead, type FailedRead } from '../bad-sectors/bisect-read.ts';
import { ReadErrors, type OnReadError } from '../bad-sectors/read-errors.ts';
import { ReadMap } from '../bad-sectors/read-map.ts';
import type { Source } from './source.ts';

export interface NbdSourceParts {
  readonly opened: OpenedExport;
  readonly path: string;
  /** For people. */
  readonly kind: string;
  readonly onReadError: OnReadError;
  /** The file of an image; closed with the source. */
  readonly file?: OpenDisk;
}

export class NbdSource implements Source {
  readonly canReread = true;
  readonly description: SourceDescription;
  readonly sizeBytes: number;
  readonly map: ReadMap;
  readonly disk?: OpenDisk;
  readonly #opened: OpenedExport;
  readonly #errors: ReadErrors;

  constructor({ opened, path, kind, onReadError, file }: NbdSourceParts) {
    this.#opened = opened;
    this.description = { description: kind, path, model: null, serial: null, byId: null };
    this.sizeBytes = opened.disk.sizeBytes;
    this.map = new ReadMap(this.sizeBytes);
    if (file !== undefined) this.disk = file;
    // A server that is gone is waited for: what fails is a part of the disk behind it.
    const isGone = (): boolean => false;
    this.#errors = new ReadErrors({ path, map: this.map, onReadError, runOut: undefined, isGone });
  }

  /** @param name of an export or a volume. @throws TransferError `source-refused`, `usage`. */
  static async open(name: string, onReadError: OnReadError): Promise<NbdSource> {
    const options = { isWritable: false, code: 'source-refused' } as const;
    const isUri = isNbdUri(name);
    const opened = isUri ? await openUri(name, options) : await openRbd(name, options);
    const kind = isUri ? 'NBD export' : 'Ceph RBD volume';
    return new NbdSource({ opened, path: opened.disk.name, kind, onReadError });
  }

  /**
   * The disk in an image, read by a qemu-nbd of our own.
   * @returns undefined of what is copied as it is: a device, or the bytes of a file.
   * @throws TransferError `source-refused`, `usage`.
   */
  static async openImage(
    path: string,
    choice: FormatChoice,
    onReadError: OnReadError,
  ): Promise<NbdSource | undefined> {
    if (choice === 'raw') return undefined;
    const isFile = await stat(path).then(
      (stats) => stats.isFile(),
      () => false,
    );
    if (!isFile) {
      refuseFormat(path, choice);
      return undefined;
    }
    await using stack = new AsyncDisposableStack();
    const file = stack.use(await openDisk(path, 'source-refused'));
    const format = await imageFormatOf(file, { choice, code: 'source-refused' });
    if (format === 'raw') return undefined;
    const opened = await openImage(file, format, { isWritable: false, code: 'source-refused' });
    stack.move();
    return new NbdSource({
      opened,
      path: file.description.path,
      kind: `disk in a ${format} image`,
      onReadError,
      file,
    });
  }

  reportOutages(tell: TellOutage): void {
    this.#opened.disk.reportOutages(tell);
  }

  async read(into: Buffer<ArrayBuffer>, offset: number, signal?: AbortSignal): Promise<readonly Area[]> {
    const unreadable: Area[] = [];
    await bisectRead({
      from: offset,
      end: offset + into.length,
      sectorBytes: Math.max(SECTOR_BYTES, this.#opened.disk.facts.unitBytes),
      readSome: async (at, end) => await this.#readSome(into.subarray(at - offset, end - offset), at, signal),
      onUnreadable: (at, end, error) => {
        this.#errors.note(at, end - at, error);
        into.fill(0, at - offset, end - offset);
        unreadable.push([at, end - at]);
      },
    });
    return joinAreas(unreadable);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened[Symbol.asyncDispose]();
    await this.disk?.[Symbol.asyncDispose]();
  }

  async #readSome(into: Buffer, at: number, signal?: AbortSignal): Promise<number | FailedRead> {
    try {
      await this.#opened.disk.read(into, at, signal);
      return into.length;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof NbdError)) {
        throw new TransferError(
          'source-changed',
          `cannot read ${this.description.path}: ${reasonOf(error)}`,
          {
            cause: error,
          },
        );
      }
      this.#errors.refuse(at, into.length, error);
      return { error };
    }
  }
}
