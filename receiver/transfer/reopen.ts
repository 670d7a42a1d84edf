/** Areas that the source could not give: how they are listed, and mended in a sealed transfer. */
import { coarsened, type Area } from '../../common/areas.ts';
import { TransferError } from '../../common/errors.ts';
import { UNREADABLE_AREAS_MAX, type TransferStatus } from '../../common/protocol/protocol.ts';
import type { BlockTable } from '../durability/block-table.ts';
import type { Transfer } from './transfer.ts';

/** All of them, joined over blocks, or areas that hold all of them where there are too many. */
export function listUnreadable(
  table: BlockTable | undefined,
): Pick<TransferStatus, 'unreadable' | 'unreadableCount'> {
  const areas: readonly Area[] = table?.unreadable() ?? [];
  return { unreadable: coarsened(areas, UNREADABLE_AREAS_MAX), unreadableCount: areas.length };
}

/**
 * Opens a sealed transfer that has unreadable areas, so that the source can be read there again; its receipt
 * is withdrawn. One that is open stays so: the answer to an earlier request may have been lost.
 * @returns whether it was sealed.
 * @throws TransferError `sealed` when there are none, `not-claimed`, `no-space`, `journal-error`.
 */
export function reopen(transfer: Transfer): boolean {
  const { table } = transfer.claimed();
  if (transfer.sealed === undefined) return false;
  if (table.unreadable().length === 0) {
    throw new TransferError(
      'sealed',
      'this transfer is complete and sealed, and all of its source could be read: there is nothing to mend',
    );
  }
  transfer.unseal();
  return true;
}
