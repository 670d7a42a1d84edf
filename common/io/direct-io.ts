/** O_DIRECT: past the page cache, in whole sectors, into slabs (open(2), NOTES). */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { SLAB_ALIGNMENT_BYTES } from './buffers.ts';
import { errnoOf } from '../errors.ts';
import { reopenPathOf } from '../system-tools.ts';

/**
 * Opens an open file again, with O_DIRECT.
 * @returns undefined if the file system does not support it. @throws as open(2) does.
 */
export async function openDirect(
  handle: FileHandle,
  access: 'read' | 'read-write',
): Promise<FileHandle | undefined> {
  const mode = access === 'read' ? constants.O_RDONLY : constants.O_RDWR;
  try {
    return await open(reopenPathOf(handle), mode | constants.O_DIRECT);
  } catch (error) {
    if (errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}

/**
 * Reads from `offset + done` of the file to byte `done` of `into`, up to its end. The length is rounded up to
 * whole sectors: what follows `into` in its slab may be overwritten.
 * @param sectorBytes of the file's disk: offsets and lengths have to be multiples of it.
 * @returns how many bytes of `into` were read, 0 at the end; undefined if O_DIRECT cannot do it: an unaligned
 * offset, a buffer that is not a slab, a file system without it. @throws as pread(2) does.
 */
export async function readDirect(
  handle: FileHandle,
  into: Buffer<ArrayBuffer>,
  done: number,
  offset: number,
  sectorBytes = SLAB_ALIGNMENT_BYTES,
): Promise<number | undefined> {
  const left = into.length - done;
  const start = into.byteOffset + done;
  const rounded = Math.ceil(left / sectorBytes) * sectorBytes;
  const isAligned = (offset + done) % sectorBytes === 0 && start % sectorBytes === 0;
  if (!isAligned || start + rounded > into.buffer.byteLength) return undefined;
  try {
    const { bytesRead } = await handle.read(
      Buffer.from(into.buffer, start, rounded),
      0,
      rounded,
      offset + done,
    );
    return Math.min(bytesRead, left);
  } catch (error) {
    if (errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}
