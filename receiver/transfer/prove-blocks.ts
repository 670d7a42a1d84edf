/** Shows that the target has the bytes of some blocks: their digests with a nonce that nobody knew before. */
import { proofDigest } from '../../common/digest/proof-digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf } from '../../common/geometry.ts';
import type { Slab } from '../../common/io/buffers.ts';
import type { ProveRequest, ProveResult } from '../../common/protocol/protocol.ts';
import type { Transfer } from './transfer.ts';

/**
 * Reads the blocks past the page cache, one after the other into one slab.
 * @param request of blocks that exist. @param isGone nobody waits for the answer any more.
 * @throws TransferError `state-refused` where nothing is read back, `block-absent`, `io-error`.
 */
export async function proveBlocks(
  transfer: Transfer,
  { nonce, blocks }: ProveRequest,
  { takeSlab, isGone }: { takeSlab: () => Promise<Slab>; isGone: () => boolean },
): Promise<ProveResult> {
  const open = transfer.adopted();
  if (open.verifier === undefined) throw readsNothingBack();
  // Before the locks: those that hold all the memory may be waiting for one.
  using slab = await takeSlab();
  const digests: string[] = [];
  for (const number of blocks) {
    if (isGone()) throw new TransferError('connection-failed', 'the connection was closed');
    const index = blockIndexOf(number, open.geometry);
    // Keeps writers away while the block is read.
    using _lock = await open.locks.lock(index, 1);
    if (!open.table.isDurable(index)) {
      throw new TransferError('block-absent', `cannot prove block ${index}: it is not durable`);
    }
    const bytes = slab.bytes.subarray(0, lengthOf(index, open.geometry));
    await transfer.target.readBack(bytes, offsetOf(index, open.geometry));
    digests.push((await proofDigest(nonce, bytes)).toString('hex'));
  }
  return { transferId: transfer.id, nonce, blocks, digests };
}

export function readsNothingBack(): TransferError {
  return new TransferError(
    'state-refused',
    'this receiver reads nothing back: it was started with --verify none',
    { hint: 'start it without --verify none' },
  );
}
