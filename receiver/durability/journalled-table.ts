/** The table of a resumed transfer: the blocks that its journal lists, durable but not verified. */
import { BlockTable } from './block-table.ts';
import type { Journal } from '../journal/journal.ts';

/** @throws TransferError `state-refused`. */
export function tableOf(journal: Journal, blockCount: number): BlockTable {
  const table = new BlockTable(blockCount);
  for (const { index, digest, unreadable } of journal.blocks()) {
    if (index >= blockCount) continue;
    table.setListed(index, digest);
    table.setUnreadable(index, unreadable);
  }
  return table;
}
