/** Unreadable areas of the source: how they are listed, and read again after the seal. */
import { TransferError } from '../../common/errors.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import type { BlockTable } from '../durability/block-table.ts';
import { targetDiffers } from './refusals.ts';
import type { Transfer } from './transfer.ts';

/** All areas, those that touch joined; where there are too many, coarser areas that contain them. */
export function listUnreadable(
  table: BlockTable | undefined,
): Pick<TransferStatus, 'unreadable' | 'unreadableCount'> {
  const areas = table?.unreadable;
  return { unreadable: areas?.listed() ?? [], unreadableCount: areas?.joined().length ?? 0 };
}

/**
 * Opens a sealed transfer that has unreadable areas, so that they can be read again at the source; withdraws
 * its receipt. Nothing but these areas may change then (repaired-block.ts). An open one stays open: the
 * response to an earlier request may have been lost.
 * @returns whether it was sealed.
 * @throws TransferError `sealed` when there are none, `target-differs`, `not-claimed`, `no-space`,
 * `journal-error`.
 */
export function reopen(transfer: Transfer): boolean {
  const open = transfer.claimed();
  if (transfer.sealed === undefined) return false;
  if (open.table.unreadable.count === 0) {
    throw new TransferError(
      'sealed',
      'this transfer is complete and sealed, and has no unreadable areas to read again',
    );
  }
  if (open.table.differentCount > 0) throw targetDiffers(transfer, open);
  transfer.unseal();
  return true;
}
