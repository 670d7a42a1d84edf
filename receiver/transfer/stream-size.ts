/**
 * A pipe's size is known when it ends. Until then the transfer's geometry has the largest size that the
 * target can take; the claim with the real size cuts it. Both are journalled before they take effect.
 */
import { TransferError } from '../../common/errors.ts';
import { BLOCK_COUNT_MAX } from '../../common/geometry.ts';
import type { Claim } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import { claimDifference, hintFor, isStream } from '../../common/protocol/claim.ts';
import type { Target } from '../target/target.ts';
import type { OpenTransfer, Transfer } from './transfer.ts';
import { isResized, resize } from './update.ts';
import { write } from './write-block.ts';

/** Also of a sender's command, where that has started the receiver. */
const START_OVER =
  'start over with --discard-transfer --overwrite-target, and --yes where nobody can be asked';

/**
 * For a file whose file system may have room for petabytes: bounds the table of blocks. 64 TiB in blocks of
 * 4 MiB.
 */
export const PIPE_BLOCKS_MAX = 2 ** 24;

/**
 * Makes the target ready for as much as it can take: a device as it is; a file grows, without taking space,
 * to what its file system has room for.
 * @returns the most bytes that the source may have. @throws TransferError as {@link Target.prepare}.
 */
export async function prepareForAnySize(target: Target, blockSizeBytes: number): Promise<number> {
  const roomBytes = await target.roomBytes();
  if (target.isSizeFixed) return Math.min(roomBytes, BLOCK_COUNT_MAX * blockSizeBytes);
  let blockCount = Math.min(PIPE_BLOCKS_MAX, Math.max(1, Math.ceil(roomBytes / blockSizeBytes)));
  for (;;) {
    try {
      await target.prepare(blockCount * blockSizeBytes);
      return blockCount * blockSizeBytes;
    } catch (error) {
      // File systems have a largest file, too, whatever room they have: 16 TiB in ext4.
      const isTooLong = error instanceof TransferError && error.code === 'target-too-small';
      if (!isTooLong || blockCount === 1) throw error;
      blockCount = Math.ceil(blockCount / 2);
    }
  }
}

/**
 * Claims a transfer that is claimed already. Fixes the size if it was not known; claims come one at a time.
 * @returns `fixed` when this claim brought the size; `resized` when it changed it.
 * @throws TransferError `transfer-mismatch`,
 * `target-too-small`, `no-space`, `journal-error`, `io-error`.
 */
export async function claimAgain(
  transfer: Transfer,
  open: OpenTransfer,
  claim: Claim,
): Promise<'same' | 'fixed' | 'resized'> {
  // A mistyped --source-size of a pipe can be corrected until the seal.
  const isPipe = isStream(open.claim) && isStream(claim) && transfer.sealed === undefined;
  if ((transfer.isResizable || isPipe) && isResized(open.claim, claim)) {
    const sameSize = { ...claim, size: open.claim.size };
    const otherDifference = claimDifference(open.claim, sameSize);
    if (otherDifference !== undefined)
      throw otherTransfer(otherDifference, hintFor(open.claim, sameSize, START_OVER));
    await resize(transfer, open, claim);
    await cutTarget(transfer, transfer.claimed());
    return 'resized';
  }
  const difference = claimDifference(open.claim, claim);
  if (difference !== undefined) throw otherTransfer(difference, hintFor(open.claim, claim, START_OVER));
  // A run on a sealed transfer ends with a fresh reading of the target, beside that of the source.
  if (transfer.sealed !== undefined) transfer.readAgain();
  const isFixing = open.claim.size === null && claim.size !== null;
  if (isFixing) await fixSize(transfer, open, claim.size);
  // Also when the claim that fixed it could not finish.
  await cutTarget(transfer, open);
  return isFixing ? 'fixed' : 'same';
}

async function fixSize(transfer: Transfer, open: OpenTransfer, sizeBytes: number): Promise<void> {
  // Waits for writes in flight: their blocks count.
  using _lock = await open.locks.lock(0, Math.max(1, open.blockCount));
  const { geometry, claim } = open;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
    throw new TransferError('bad-request', `a size of ${sizeBytes} bytes is not possible`);
  }
  if (sizeBytes > geometry.sizeBytes) {
    throw new TransferError(
      'target-too-small',
      `${transfer.target.identity.path} is too small: it has room for ${geometry.sizeBytes} bytes ` +
        `(${formatSize(geometry.sizeBytes)}), the pipe has ${sizeBytes} (${formatSize(sizeBytes)})`,
    );
  }
  const endBytes = Math.min(open.table.presentEnd() * geometry.blockSizeBytes, geometry.sizeBytes);
  if (sizeBytes < endBytes) {
    const difference = `its source has at least ${endBytes} bytes (${formatSize(endBytes)})`;
    const fixed = { ...claim, size: sizeBytes };
    throw otherTransfer(`${difference}, this one has ${sizeBytes}`, hintFor(claim, fixed, START_OVER));
  }
  const fixed = { ...claim, size: sizeBytes, stream: true };
  transfer.journal.setProperties({ claim: JSON.stringify(fixed) });
  open.fixSize(fixed);
}

/**
 * Cuts a file that had grown for a pipe, or for a longer source, to the size of the source: after the journal
 * has that size, and again at the next start if a crash came between. The flush before the seal covers it.
 * @throws TransferError `io-error`, `no-space`.
 */
export async function cutTarget(transfer: Transfer, open: OpenTransfer): Promise<void> {
  if (open.claim.size === null || !open.isCutPending) return;
  // Another claim, which may change the size, waits until it is cut, or has come before.
  using _lock = await open.locks.lock(0, Math.max(1, open.blockCount));
  const { size } = open.claim;
  const isDue = open.isCutPending && transfer.opened === open && transfer.sealed === undefined;
  if (size === null || !isDue) return;
  await write(open, [], NO_CONTENT, 0, async () => await transfer.target.prepare(size));
  open.isCutPending = false;
}

/**
 * A power cut between the claim and the first flush can undo the file's new length, a crash can come between
 * a shorter size and the cut, and another program can change it: blocks that are gone are found when
 * everything is read back.
 */
export async function restoreLength({ target, opened, sealed }: Transfer): Promise<void> {
  if (opened === undefined || sealed !== undefined) return;
  const { sizeBytes } = opened.geometry;
  if (target.isSizeFixed || (await target.lengthBytes()) === sizeBytes) return;
  await target.prepare(sizeBytes);
}

/** For a write of no block. */
const NO_CONTENT = {
  unreadable: [],
  digestOf: (index: number): Buffer => {
    throw new RangeError(`no block is written, yet block ${index} is asked for`);
  },
};

function otherTransfer(difference: string, hint: string): TransferError {
  return new TransferError('transfer-mismatch', `this target belongs to another transfer: ${difference}`, {
    hint,
  });
}
