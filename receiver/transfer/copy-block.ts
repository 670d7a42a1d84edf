/** Copies a block that the target already holds elsewhere, instead of sending it. */
import { TransferError } from '../../common/errors.ts';
import { lengthOf, offsetOf, type BlockIndex } from '../../common/geometry.ts';
import type { Slab } from '../../common/io/buffers.ts';
import type { BlockResult } from '../../common/protocol/protocol.ts';
import type { Transfer } from './transfer.ts';
import { writeBlock } from './write-block.ts';

/**
 * Reads `from` past the page cache, compares it with the digest, and writes it like any other block.
 * @param digest 32 bytes, by the transfer's algorithm: of both blocks.
 * @param takeSlab a buffer of a block's size.
 * @throws TransferError `block-absent` if `from` is not durable with this digest, or differs on the disk;
 * otherwise as {@link writeBlock}.
 */
export async function copyBlock(
  transfer: Transfer,
  copy: { from: BlockIndex; to: BlockIndex; digest: Buffer; isFlushed: boolean },
  takeSlab: () => Promise<Slab>,
): Promise<{ receipt: BlockResult; isNew: boolean }> {
  const { from, to, digest, isFlushed } = copy;
  const open = transfer.writable();
  const lengthBytes = lengthOf(from, open.geometry);
  if (lengthBytes !== lengthOf(to, open.geometry)) throw notThere(from, 'it has another length');
  using slab = await takeSlab();
  const bytes = slab.bytes.subarray(0, lengthBytes);
  {
    // Keeps writers away while it is read; writing the copy takes a lock of its own.
    using _lock = await open.locks.lock(from, 1);
    if (!open.table.isDurable(from) || !open.table.digestOf(from).equals(digest)) {
      throw notThere(from, 'it is not durable with this digest');
    }
    if (open.table.unreadableOf(from).length > 0) throw notThere(from, 'it has unreadable areas');
    await transfer.target.readBack(bytes, offsetOf(from, open.geometry));
  }
  if (!(await open.digest.of(bytes)).equals(digest)) throw notThere(from, 'it was read back different');
  return await writeBlock(transfer, { index: to, bytes, digest, isFlushed });
}

function notThere(from: number, why: string): TransferError {
  return new TransferError('block-absent', `cannot copy block ${from}: ${why}`);
}
