/**
 * What may be written to a transfer that was sealed: blocks that had unreadable areas, and of these only the
 * areas. Everything else is what the earlier receipt says.
 */
import { areasOutside, type Area } from '../../common/areas.ts';
import { TransferError } from '../../common/errors.ts';
import type { BlockIndex } from '../../common/geometry.ts';
import { offsetOf } from '../../common/geometry.ts';
import type { Range } from '../../common/ranges.ts';
import type { OpenTransfer, Transfer } from './transfer.ts';

/** Of the target, in memory at once. */
const COMPARED_BYTES = 128 * 1024;

/** @throws TransferError `sealed` if the block had no unreadable areas when the transfer was sealed. */
export function refuseSealedBlock({ reopened }: Transfer, index: number): void {
  if (reopened === undefined || reopened.has(index)) return;
  throw sealedBlock(index, 'only blocks that had unreadable areas may be sent again');
}

/**
 * Compares a block with what was sealed. To be called under its lock.
 * @param unreadable its areas that are unreadable now.
 * @throws TransferError as {@link refuseSealedBlock}, or if it differs outside the
 * areas that were unreadable.
 */
export async function refuseOtherBytes(
  transfer: Transfer,
  open: OpenTransfer,
  { index, bytes, unreadable }: { index: BlockIndex; bytes: Buffer; unreadable: readonly Area[] },
): Promise<void> {
  if (transfer.reopened === undefined) return;
  refuseSealedBlock(transfer, index);
  const areas = transfer.reopened.get(index) ?? [];
  if (areasOutside(unreadable, areas).length > 0) {
    throw sealedBlock(index, 'bytes of it that were sealed cannot become unreadable');
  }
  const start = offsetOf(index, open.geometry);
  for (const [offset, length] of areasOutside([[start, bytes.length]], areas)) {
    for (let at = offset; at < offset + length; at += COMPARED_BYTES) {
      const sealed = Buffer.alloc(Math.min(COMPARED_BYTES, offset + length - at));
      await transfer.target.read(sealed, at);
      if (sealed.equals(bytes.subarray(at - start, at - start + sealed.length))) continue;
      throw sealedBlock(index, 'it differs from what was sealed outside its unreadable areas');
    }
  }
}

/** Zeros may only confirm that the areas of blocks of zeros could be read by now. */
export function refuseOtherZeros(transfer: Transfer, open: OpenTransfer, [first, count]: Range): void {
  if (transfer.reopened === undefined) return;
  const { table, zeroDigests } = open;
  for (let index = first; index < first + count; index++) {
    refuseSealedBlock(transfer, index);
    if (table.isDurable(index) && table.digestOf(index).equals(zeroDigests.of(index))) continue;
    throw sealedBlock(index, 'it was not sealed as zeros: send the block');
  }
}

function sealedBlock(index: number, why: string): TransferError {
  return new TransferError('sealed', `block ${index} is sealed: ${why}`, {
    hint: 'to bring the copy up to date, start the receiver with --update',
  });
}
