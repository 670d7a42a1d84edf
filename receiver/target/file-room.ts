/** How large a file could become. */
import { stat, statfs } from 'node:fs/promises';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';

/** Unit of `st_blocks`, whatever the file system's own blocks are (inode(7)). */
const STAT_BLOCK_BYTES = 512;

/**
 * What the file system has free now, and what the file holds already, in bytes; a file system without a limit
 * of its own says that it has no blocks at all (tmpfs(5), `size=0`). @throws TransferError `io-error`.
 */
export async function roomOfFile(path: string): Promise<number> {
  try {
    const [{ bavail, bsize, blocks }, file] = await Promise.all([statfs(path), stat(path)]);
    return blocks === 0 ? Number.MAX_SAFE_INTEGER : bavail * bsize + file.blocks * STAT_BLOCK_BYTES;
  } catch (error) {
    throw new TransferError('io-error', `cannot tell how much room ${path} has: ${reasonOf(error)}`, {
      cause: error,
      details: { errno: errnoOf(error) },
    });
  }
}
