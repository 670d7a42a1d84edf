/** Unreadable areas of the source: how they are listed, and read again after the seal. */
import { coarsened, type Area } from '../../common/areas.ts';
import { TransferError } from '../../common/errors.ts';
import { UNREADABLE_AREAS_MAX, type TransferStatus } from '../../common/protocol/protocol.ts';
import type { BlockTable } from '../durability/block-table.ts';
import type { Transfer } from './transfer.ts';

/** All areas, those that touch joined; where there are too many, coarser areas that contain them. */
export function listUnreadable(
  table: BlockTable | undefined,
): Pick<TransferStatus, 'unreadable' | 'unreadableCount'> {
  const areas: readonly Area[] = table?.unreadable() ?? [];
  return { unreadable: coarsened(areas, UNREADABLE_AREAS_MAX), unreadableCount: areas.length };
}

/**
 * Opens a sealed transfer that has unreadable areas, so that they can be read again at the source; withdraws
 * its receipt. An open one stays open: the response to an earlier request may have been lost.
 * @returns whether it was sealed.
 * @throws TransferError `sealed` when there are none, `not-claimed`, `no-space`, `journal-error`.
 */
export function reopen(transfer: Transfer): boolean {
  const { table } = transfer.claimed();
  if (transfer.sealed === undefined) return false;
  if (table.unreadable().length === 0) {
    throw new TransferError(
      'sealed',
      'this transfer is complete and sealed, and has no unreadable areas to read again',
    );
  }
  transfer.unseal();
  return true;
}
