/** The claim binds a transfer to one source. It fixes the geometry: without it nothing can be written. */
import { TransferError } from '../../common/errors.ts';
import { isGeometry } from '../../common/geometry.ts';
import type { Claim } from '../../common/protocol/protocol.ts';
import { checkTableFits, machineMemoryBytes } from './memory-budget.ts';
import { claimAgain, prepareForAnySize } from './stream-size.ts';
import { refuseAdoption, startAdoption } from './adopt.ts';
import { followOthers, keepForOthers } from './shared-transfer.ts';
import type { Transfer } from './transfer.ts';

/** `fixed`: the claim brought a size where there was none; `resized`: another size, in an update. */
export type ClaimOutcome = 'new' | 'same' | 'fixed' | 'resized';

/**
 * Claims the transfer for a source. Repeating the claim changes nothing; a pipe that has ended claims again
 * to fix its size.
 * @throws TransferError `transfer-mismatch`, `target-too-small`, `target-refused`, `digest-unsupported`, …
 */
export async function claimTransfer(transfer: Transfer, claim: Claim): Promise<ClaimOutcome> {
  // One at a time, so that two senders can't both be the first.
  using _turn = await transfer.claimTurns.take();
  await transfer.target.confirm();
  await followOthers(transfer);
  const open = transfer.opened;
  const outcome = open === undefined ? 'new' : await claimAgain(transfer, open, claim);
  if (open === undefined) await claimFirst(transfer, claim);
  noteLeftOut(transfer, claim);
  await keepForOthers(transfer);
  if (open === undefined) await startAdoption(transfer);
  return outcome;
}

/** Before the first of its blocks: later runs must not take their zeros for what the source has there. */
function noteLeftOut(transfer: Transfer, { leavesOut }: Claim): void {
  if (leavesOut === true && transfer.sealed === undefined) transfer.noteLeftOut();
}

async function claimFirst(transfer: Transfer, claim: Claim): Promise<void> {
  const geometry = { sizeBytes: claim.size ?? 0, blockSizeBytes: claim.blockSize };
  if (!isGeometry(geometry)) {
    throw new TransferError(
      'bad-request',
      `cannot claim a size of ${claim.size} in blocks of ${claim.blockSize} bytes: out of range`,
    );
  }
  checkTableFits(geometry, machineMemoryBytes());
  refuseAdoption(transfer, claim);
  if (claim.size !== null) {
    await transfer.target.prepare(claim.size);
    transfer.begin(claim);
  } else transfer.begin(claim, await prepareForAnySize(transfer.target, claim.blockSize));
}
