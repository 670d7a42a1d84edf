/** The table of a resumed transfer: the blocks that its journal lists, durable but not verified. */
import { othersTurn } from '../../common/event-loop.ts';
import { BlockTable } from './block-table.ts';
import type { Journal, JournalledBlock } from '../journal/journal.ts';

/** Rows read in one chunk of work: a few milliseconds. */
const ROWS_AT_ONCE = 1024;

/** @throws TransferError `state-refused`. */
export function tableOf(journal: Journal, blockCount: number): BlockTable {
  const table = new BlockTable(blockCount);
  for (const block of journal.blocks()) list(table, block);
  return table;
}

/** As {@link tableOf}, with requests answered in between. The journal must not change meanwhile. */
export async function tableInTurns(journal: Journal, blockCount: number): Promise<BlockTable> {
  const table = new BlockTable(blockCount);
  let rows = 0;
  for (const block of journal.blocks()) {
    list(table, block);
    if (++rows % ROWS_AT_ONCE === 0) await othersTurn();
  }
  return table;
}

function list(table: BlockTable, { index, digest, unreadable }: JournalledBlock): void {
  if (index >= table.blockCount) return;
  table.setListed(index, digest);
  table.unreadable.set(index, unreadable);
}
