/** Standard input as the source. */
import { createReadStream, fstatSync, type Stats } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { isatty } from 'node:tty';
import { abortable } from '../../common/abortable.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import type { Stream } from './stream.ts';

const FD = 0;
/** From files and devices; a pipe gives what it holds, usually 64 KiB (pipe(7)). */
const READ_BYTES = 1024 * 1024;

export class StandardInput implements Stream {
  readonly canReread = false;
  readonly description: SourceDescription;
  readonly sizeBytes: number | null;
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<Buffer>;
  /** Read but not consumed yet. */
  #rest: Buffer | undefined;
  #doneBytes = 0;

  private constructor(description: string, sizeBytes: number | null, stream: Readable) {
    this.description = { description, path: 'standard input', model: null, serial: null };
    this.sizeBytes = sizeBytes;
    this.#stream = stream;
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /**
   * @param sizeBytes `--source-size`.
   * @throws TransferError `usage` if it is a terminal, `source-refused`.
   */
  static async open(sizeBytes: number | null): Promise<StandardInput> {
    if (isatty(FD)) {
      throw new TransferError('usage', 'standard input is a terminal: nothing is piped in', {
        hint: "zcat disk.img.gz | ddt-send - '<ticket>'",
      });
    }
    const stats = fstatSync(FD);
    if (stats.isDirectory()) throw new TransferError('source-refused', 'standard input is a directory');
    // Reads of a socket can be cancelled. A read of a pipe that hangs in libuv's pool would block the exit of
    // the process (uv_library_shutdown joins its threads).
    const stream =
      stats.isFIFO() || stats.isSocket()
        ? new Socket({ fd: FD, readable: true, writable: false })
        : createReadStream('', { fd: FD, autoClose: false, highWaterMark: READ_BYTES });
    return new StandardInput(await describe(stats), sizeBytes, stream);
  }

  async fill(into: Buffer, signal: AbortSignal): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const chunk = await this.#chunk(signal);
      if (chunk === undefined) break;
      const taken = chunk.copy(into, done);
      this.#rest = taken < chunk.length ? chunk.subarray(taken) : undefined;
      done += taken;
    }
    this.#doneBytes += done;
    return done;
  }

  async isAtEnd(signal: AbortSignal): Promise<boolean> {
    this.#rest = await this.#chunk(signal);
    return this.#rest === undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stream.destroy();
    return await Promise.resolve();
  }

  /** The rest of the last chunk, or the next one; undefined at the end. */
  async #chunk(signal: AbortSignal): Promise<Buffer | undefined> {
    signal.throwIfAborted();
    if (this.#rest !== undefined) return this.#rest;
    try {
      const next = await abortable(this.#chunks.next(), signal);
      return next.done === true ? undefined : next.value;
    } catch (error) {
      signal.throwIfAborted();
      throw new TransferError(
        'source-read',
        `cannot read standard input after ${this.#doneBytes} bytes: ${reasonOf(error)}`,
        { cause: error, hint: 'run the same pipe again to resume; what was sent is safe' },
      );
    }
  }
}

/** `a pipe`, `the named pipe /tmp/disk`, `the file /tmp/disk.img`. */
async function describe(stats: Stats): Promise<string> {
  // pipe:[4711] where it has no name.
  const path = await readlink(`/proc/self/fd/${FD}`).catch(() => '');
  const name = path.startsWith('/') ? ` ${path}` : '';
  if (stats.isFIFO()) return name === '' ? 'a pipe' : `the named pipe${name}`;
  if (stats.isSocket()) return 'a socket';
  return stats.isFile() ? `the file${name}` : `the device${name}`;
}
