/** Shows that the target has the bytes of some areas: their digests with a nonce that nobody knew before. */
import { proofDigest } from '../../common/digest/proof-digest.ts';
import { TransferError } from '../../common/errors.ts';
import type { Slab } from '../../common/io/buffers.ts';
import type { ProveRequest, ProveResult } from '../../common/protocol/protocol.ts';
import type { Transfer } from './transfer.ts';

/**
 * Reads the areas past the page cache, one after the other into one slab.
 * @param request of areas that exist, each in one block. @param isGone nobody waits for the answer any more.
 * @throws TransferError `state-refused` where nothing is read back, `block-absent`, `io-error`.
 */
export async function proveAreas(
  transfer: Transfer,
  { nonce, areas }: ProveRequest,
  { takeSlab, isGone }: { takeSlab: () => Promise<Slab>; isGone: () => boolean },
): Promise<ProveResult> {
  const open = transfer.adopted();
  if (open.verifier === undefined) throw readsNothingBack();
  // Before the locks: those that hold all the memory may be waiting for one.
  using slab = await takeSlab();
  const digests: string[] = [];
  for (const [offset, length] of areas) {
    if (isGone()) throw new TransferError('connection-failed', 'the connection was closed');
    const index = Math.floor(offset / open.geometry.blockSizeBytes);
    // Keeps writers away while it is read.
    using _lock = await open.locks.lock(index, 1);
    if (!open.table.isDurable(index)) {
      throw new TransferError('block-absent', `cannot prove block ${index}: it is not durable`);
    }
    const bytes = slab.bytes.subarray(0, length);
    await transfer.target.readBack(bytes, offset);
    digests.push(proofDigest(nonce, bytes).toString('hex'));
  }
  return { transferId: transfer.id, nonce, areas, digests };
}

export function readsNothingBack(): TransferError {
  return new TransferError(
    'state-refused',
    'this receiver reads nothing back: it was started with --verify none',
    { hint: 'start it without --verify none' },
  );
}
