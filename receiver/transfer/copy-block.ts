/** A block that the target holds elsewhere already: it is copied there, and does not travel. */
import { TransferError } from '../../common/errors.ts';
import { lengthOf, offsetOf, type BlockIndex } from '../../common/geometry.ts';
import type { Slab } from '../../common/io/buffers.ts';
import type { BlockResult } from '../../common/protocol/protocol.ts';
import type { Transfer } from './transfer.ts';
import { writeBlock } from './write-block.ts';

/**
 * Reads `from` past the page cache, compares it with the digest, and writes it as any other block.
 * @param digest 32 bytes, of the transfer's algorithm: what both blocks are to be.
 * @param takeSlab a buffer of a block's size.
 * @throws TransferError `block-absent` when `from` is not durable with this digest, or is not it any more
 * on the disk; otherwise as {@link writeBlock}.
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
    // Nobody writes it while it is read; its copy has a lock of its own afterwards.
    using _lock = await open.locks.lock(from, 1);
    if (!open.table.isDurable(from) || !open.table.digestOf(from).equals(digest)) {
      throw notThere(from, 'it is not durable with this digest');
    }
    if (open.table.unreadableOf(from).length > 0) throw notThere(from, 'the source could not be read there');
    await transfer.target.readBack(bytes, offsetOf(from, open.geometry));
  }
  if (!(await open.digest.of(bytes)).equals(digest)) throw notThere(from, 'it was read back different');
  return await writeBlock(transfer, { index: to, bytes, digest, isFlushed });
}

function notThere(from: number, why: string): TransferError {
  return new TransferError('block-absent', `cannot copy block ${from}: ${why}`);
}
