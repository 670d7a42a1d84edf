/** Standard input as the source. */
import { createReadStream, fstatSync, type Stats } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { isatty } from 'node:tty';
import { TransferError } from '../../common/errors.ts';
import { ChunkStream } from './chunk-stream.ts';
import type { Stream } from './stream.ts';

const FD = 0;
/** From files and devices; a pipe gives what it holds, usually 64 KiB (pipe(7)). */
const READ_BYTES = 1024 * 1024;

/**
 * @param sizeBytes `--source-size`.
 * @throws TransferError `usage` if it is a terminal, `source-refused`.
 */
export async function openStandardInput(sizeBytes: number | null): Promise<Stream> {
  if (isatty(FD)) {
    throw new TransferError('usage', 'standard input is a terminal: nothing is piped in', {
      hint: "zcat disk.img.gz | ddt-send - '<ticket>'",
    });
  }
  const stats = fstatSync(FD);
  if (stats.isDirectory()) throw new TransferError('source-refused', 'standard input is a directory');
  // Reads of a socket can be cancelled. A read of a pipe that hangs in libuv's pool would block the exit of
  // the process (uv_library_shutdown joins its threads).
  const stream: Readable =
    stats.isFIFO() || stats.isSocket()
      ? new Socket({ fd: FD, readable: true, writable: false })
      : createReadStream('', { fd: FD, autoClose: false, highWaterMark: READ_BYTES });
  return new ChunkStream({
    description: { description: await describe(stats), path: 'standard input', model: null, serial: null },
    sizeBytes,
    chunks: stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>,
    close: () => void stream.destroy(),
  });
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
