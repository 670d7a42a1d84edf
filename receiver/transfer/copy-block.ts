/** Copies a block that the target already holds, elsewhere or under its digest, instead of sending it. */
import { TransferError } from '../../common/errors.ts';
import { lengthOf, offsetOf, type BlockIndex } from '../../common/geometry.ts';
import type { Slab } from '../../common/io/buffers.ts';
import type { BlockResult } from '../../common/protocol/protocol.ts';
import type { Transfer } from './transfer.ts';
import type { TargetStore } from '../target/target.ts';
import { writeBlock } from './write-block.ts';

/**
 * Reads `from` past the page cache, compares it with the digest, and writes it to `to` as any other block.
 * Never holds two locks, nor a lock while it waits for memory: copies that cross cannot block each other.
 * @param copy.digest 32 bytes, of the transfer's algorithm: what both blocks are to be.
 * @param takeSlab a buffer of a block's size.
 * @throws TransferError `block-absent` when `from` is not durable with this digest, or cannot be read back
 * like that; otherwise as {@link writeBlock}.
 */
export async function copyBlock(
  transfer: Transfer,
  copy: { from: BlockIndex; to: BlockIndex; digest: Buffer; isFlushed: boolean },
  takeSlab: () => Promise<Slab>,
): Promise<{ receipt: BlockResult; isNew: boolean }> {
  const { from, to, digest, isFlushed } = copy;
  const lengthBytes = lengthToCopy(transfer, from, to);
  using slab = await takeSlab();
  const bytes = slab.bytes.subarray(0, lengthBytes);
  await readEqual(transfer, from, bytes, digest);
  // The size of a pipe may have been fixed meanwhile.
  if (lengthToCopy(transfer, from, to) !== lengthBytes) throw notThere(from, 'its length has changed');
  return await writeBlock(transfer, { index: to, bytes, digest, isFlushed });
}

/**
 * The same where the target holds blocks under their digests, of whatever disk: nothing is written then but
 * the record. What was read and compared here counts as read back.
 * @throws TransferError `block-absent` when there is none, or it is damaged; otherwise as {@link writeBlock}.
 */
export async function takeHeldBlock(
  transfer: Transfer,
  store: TargetStore,
  { to, digest, isFlushed }: { to: BlockIndex; digest: Buffer; isFlushed: boolean },
): Promise<{ receipt: BlockResult; isNew: boolean }> {
  const open = transfer.writable();
  const what = `take block ${to} from what ${transfer.target.identity.path} holds`;
  refuseReopened(transfer, what);
  const length = lengthOf(to, open.geometry);
  const method = await store.holds(digest, length);
  if (method === undefined) throw absent(what, 'there is no such block, or it is damaged');
  open.verifier?.noteRead(to, digest, method);
  return await writeBlock(transfer, { index: to, bytes: { length }, digest, isFlushed });
}

/** @throws TransferError `block-absent` unless both blocks exist and have the same length. */
function lengthToCopy(transfer: Transfer, from: BlockIndex, to: BlockIndex): number {
  const { blockCount, geometry } = transfer.writable();
  refuseReopened(transfer, `copy block ${from}`);
  const lengthBytes = lengthOf(from, geometry);
  const isSame = lengthBytes === lengthOf(to, geometry);
  if (Math.max(from, to) < blockCount && isSame) return lengthBytes;
  throw notThere(from, `its length is not that of block ${to}`);
}

async function readEqual(
  transfer: Transfer,
  from: BlockIndex,
  bytes: Buffer<ArrayBuffer>,
  digest: Buffer,
): Promise<void> {
  const open = transfer.writable();
  // Keeps writers away while the block is read.
  using _lock = await open.locks.lock(from, 1);
  if (!open.table.isDurable(from) || !open.table.digestOf(from).equals(digest)) {
    throw notThere(from, 'it is not durable with this digest');
  }
  // The digest is that of zeros in their place: a copy would not be what the source holds.
  if (open.table.unreadable.of(from).length > 0) throw notThere(from, 'it has unreadable areas');
  try {
    await transfer.target.readBack(bytes, offsetOf(from, open.geometry));
  } catch (error) {
    if (!(error instanceof TransferError) || error.code !== 'io-error') throw error;
    // A failed read is not a failed write: the epoch stays, and the block can be sent.
    open.verifier?.doubtBlock(from);
    throw notThere(from, error.message, error);
  }
  if ((await open.digest.of(bytes)).equals(digest)) return;
  open.verifier?.doubtBlock(from);
  throw notThere(from, 'it was read back different');
}

function refuseReopened(transfer: Transfer, what: string): void {
  if (transfer.reopened !== undefined) throw absent(what, 'only unreadable areas may change any more');
}

function notThere(from: number, why: string, cause?: TransferError): TransferError {
  return absent(`copy block ${from}`, why, cause);
}

function absent(what: string, why: string, cause?: TransferError): TransferError {
  return new TransferError('block-absent', `cannot ${what}: ${why}`, { cause });
}
