/** Updates a sealed copy: opens it again; blocks that differ are sent, and sealed as a new generation. */
import { TransferError } from '../../common/errors.ts';
import { othersTurn } from '../../common/event-loop.ts';
import { blockCountOf, isGeometry } from '../../common/geometry.ts';
import { checkTableFits, machineMemoryBytes } from './memory-budget.ts';
import type { Claim, SizedClaim } from '../../common/protocol/protocol.ts';
import { tableInTurns } from '../durability/journalled-table.ts';
import type { Journal } from '../journal/journal.ts';
import { REOPENED, withdrawReceipt } from './receipts.ts';
import type { OpenTransfer, Transfer } from './transfer.ts';
import { refuseStale } from './write-block.ts';

/** Blocks in one transaction of the journal: some ten milliseconds. */
const FORGOTTEN_AT_ONCE = 4096;

/**
 * Opens a sealed transfer again, before its {@link Transfer} is made; also one that was opened again for its
 * unreadable areas alone.
 * @returns whether it was sealed. @throws TransferError `no-space`, `journal-error`.
 */
export function openForUpdate(journal: Journal): boolean {
  const isReopened = journal.property(REOPENED) !== undefined;
  const isSealed = withdrawReceipt(journal, { update: 'yes' });
  if (isReopened) {
    journal.setProperties({ update: 'yes' });
    journal.removeProperties([REOPENED]);
  }
  return isSealed || isReopened;
}

/**
 * Follows a source that was resized: keeps the blocks that both sizes have in full and forgets the others.
 * Claims come one at a time. Whichever step fails, the transfer continues with the old size, or with the new
 * one: a file gets longer before the journal has the new size, and is cut after that.
 * @throws TransferError `target-too-small`, `sealed`, `no-space`, `journal-error`, `io-error`.
 */
export async function resize(transfer: Transfer, open: OpenTransfer, claim: SizedClaim): Promise<void> {
  const { geometry, durability, verifier, locks } = open;
  const { target, journal } = transfer;
  const isShorter = claim.size < geometry.sizeBytes;
  checkTableFits({ ...geometry, sizeBytes: claim.size }, machineMemoryBytes());
  // Waits for writes in progress. To the end: one that waits is refused then, and journals nothing for the
  // old size.
  using _lock = await locks.lock(0, Math.max(1, open.blockCount));
  // An earlier request may have sealed it meanwhile.
  refuseStale(transfer, open);
  if (!isShorter) {
    // The claim may fail yet, as the journal can be full: the transfer then has its old size.
    open.isCutPending = !target.isSizeFixed;
    await target.prepare(claim.size);
    verifier?.noteOwnWrites();
  }
  await durability.flush();
  const both = Math.floor(Math.min(geometry.sizeBytes, claim.size) / geometry.blockSizeBytes);
  await forgetFrom(transfer, open, both);
  const blockCount = blockCountOf({ ...geometry, sizeBytes: claim.size });
  const resized = transfer.reclaim({ ...open.claim, ...claim }, await tableInTurns(journal, blockCount));
  resized.isCutPending = isShorter && !target.isSizeFixed;
  // Readers that wait for a lock find this, and end.
  void verifier?.stop();
}

/** Some at a time: deleting millions of rows would keep the only thread busy for minutes. */
async function forgetFrom(transfer: Transfer, open: OpenTransfer, first: number): Promise<void> {
  const { table, blockCount } = open;
  open.resizeCount++;
  for (let from = first; from < blockCount; from += FORGOTTEN_AT_ONCE) {
    const gone: number[] = [];
    const end = Math.min(blockCount, from + FORGOTTEN_AT_ONCE);
    for (let index = from; index < end; index++) if (table.isDurable(index)) gone.push(index);
    if (gone.length > 0) transfer.journal.forgetBlocks(gone);
    for (const index of gone) table.set(index, 'absent');
    if (end < blockCount) await othersTurn();
  }
}

/** Whether the claim differs from that of the transfer in its size alone. */
export function isResized(before: Claim, after: Claim): after is SizedClaim {
  if (before.size === null || after.size === null || before.size === after.size) return false;
  return isGeometry({ sizeBytes: after.size, blockSizeBytes: after.blockSize });
}

export function nothingToUpdate(path: string): TransferError {
  return new TransferError('state-refused', `there is no copy on ${path} to update`, {
    hint: 'leave out --update; if another tool made the copy, say --adopt instead',
  });
}
