/** Updates a sealed copy: opens it again; blocks that differ are sent, and sealed as a new generation. */
import { TransferError } from '../../common/errors.ts';
import { isGeometry } from '../../common/geometry.ts';
import { checkTableFits, machineMemoryBytes } from './memory-budget.ts';
import type { Claim, SealReceipt, SizedClaim } from '../../common/protocol/protocol.ts';
import type { Journal } from '../journal/journal.ts';
import type { EarlierReceipt, OpenTransfer, Transfer } from './transfer.ts';
import { refuseStale } from './write-block.ts';

/**
 * Opens a sealed transfer again, before its {@link Transfer} is made, and adds its receipt to the earlier
 * ones. Each step is durable: after a crash between two of them the same call completes it.
 * @returns whether it was sealed. @throws TransferError `no-space`, `journal-error`.
 */
export function openForUpdate(journal: Journal): boolean {
  const json = journal.property('receipt');
  if (json === undefined) return false;
  const { sealedAt, root, generation = 1 } = JSON.parse(json) as Partial<SealReceipt>;
  const earlier = JSON.parse(journal.property('earlierReceipts') ?? '[]') as EarlierReceipt[];
  const kept = earlier.filter((each) => each.generation !== generation);
  const all = [...kept, { generation, sealedAt: sealedAt ?? '', root: root ?? '' }];
  journal.setProperties({ earlierReceipts: JSON.stringify(all), update: 'yes' });
  journal.removeProperties(['receipt', 'receiptSignature']);
  return true;
}

/**
 * Follows a source that was resized: keeps the blocks that both sizes have in full and forgets the others.
 * Claims come one at a time. Whichever step fails, the transfer continues with the old size, or with the new
 * one: a file gets longer before the journal has the new size, and is cut after that.
 * @throws TransferError `target-too-small`, `sealed`, `no-space`, `journal-error`, `io-error`.
 */
export async function resize(transfer: Transfer, open: OpenTransfer, claim: SizedClaim): Promise<void> {
  const { geometry, durability, verifier, locks, table } = open;
  const { target, journal } = transfer;
  const isShorter = claim.size < geometry.sizeBytes;
  checkTableFits({ ...geometry, sizeBytes: claim.size }, machineMemoryBytes());
  // Waits for writes in progress. To the end: one that waits is refused then, and journals nothing for the
  // old size.
  using _lock = await locks.lock(0, Math.max(1, open.blockCount));
  // An earlier request may have sealed it meanwhile.
  refuseStale(transfer, open);
  if (!isShorter) await target.prepare(claim.size);
  await durability.flush();
  const both = Math.floor(Math.min(geometry.sizeBytes, claim.size) / geometry.blockSizeBytes);
  const gone: number[] = [];
  for (let index = both; index < open.blockCount; index++) if (table.isDurable(index)) gone.push(index);
  journal.forgetBlocks(gone);
  for (const index of gone) table.set(index, 'absent');
  const resized = transfer.reclaim({ ...open.claim, ...claim });
  resized.isCutPending = isShorter && !target.isSizeFixed;
  // Readers that wait for a lock find this, and end.
  void verifier?.stop();
}

/** Whether the claim differs from that of the transfer in its size alone. */
export function isResized(before: Claim, after: Claim): after is SizedClaim {
  if (before.size === null || after.size === null || before.size === after.size) return false;
  return isGeometry({ sizeBytes: after.size, blockSizeBytes: after.blockSize });
}

export function nothingToUpdate(path: string): TransferError {
  return new TransferError('state-refused', `there is no copy on ${path} to update`, {
    hint: `leave out --update; if another tool made the copy: ddt-receive --adopt ${path}`,
  });
}
