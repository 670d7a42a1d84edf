/** The claim that a source makes on the transfer that was found, or why it cannot. */
import { claimDifference, hintFor } from '../../common/protocol/claim.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { defaultBlockSizeFor } from '../../common/geometry.ts';
import type { Claim, TransferStatus } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import { chooseDigest, type DigestChoice } from './choose-digest.ts';
import { leavesOut, refuseUnsaid } from './left-out-note.ts';
import { BY_HAND, type Restarts } from './restarts.ts';
import type { Source } from '../source/source.ts';
import type { Stream } from '../source/stream.ts';

export interface ClaimRequest {
  readonly source: Source | Stream;
  readonly receiverName: string;
  /** undefined: that of the transfer's claim, or else one that suits the size of the source. */
  readonly blockSizeBytes: number | undefined;
  readonly digest: DigestChoice;
  /** {@link BY_HAND} by default. */
  readonly restarts?: Restarts;
}

export interface ChosenClaim {
  readonly claim: Claim;
  /** The one that the claim names. */
  readonly digest: BlockDigest;
}

/**
 * The receiver decides; what can be seen from here is refused before anything is asked or claimed.
 * @param digests that can be computed here.
 * @throws TransferError `target-too-small`, `transfer-mismatch`, `digest-unsupported`.
 */
export function makeClaim(
  request: ClaimRequest,
  found: TransferStatus,
  digests: readonly BlockDigest[],
): ChosenClaim {
  const { restarts = BY_HAND } = request;
  const { description, sizeBytes: size } = request.source;
  const { target } = found;
  if (target.size !== null && size !== null && target.size < size) {
    throw new TransferError(
      'target-too-small',
      `${target.path} at ${request.receiverName} is too small: it has ${target.size} bytes ` +
        `(${formatSize(target.size)}), the source has ${size} (${formatSize(size)})`,
    );
  }
  const sizeKnown = request.source.canReread ? size : null;
  const blockSize = request.blockSizeBytes ?? found.blockSize ?? defaultBlockSizeFor(sizeKnown);
  const digest = chooseDigest(request.digest, digests, found, restarts);
  refuseUnsaid(request.source, found);
  const omitting = leavesOut(request.source) ? { leavesOut: true } : {};
  const claim: Claim = { size, blockSize, source: description, digest: digest.algorithm, ...omitting };
  // Only the receiver knows whether it resumes the transfer of a pipe.
  if (!request.source.canReread) return { claim: { ...claim, stream: true }, digest };
  const { size: claimedSize, blockSize: claimedBlockSize, source } = found;
  if (claimedSize === null || claimedBlockSize === null || source === null) return { claim, digest };
  const claimedDigest = found.digest === null ? {} : { digest: found.digest };
  // A copy that is being updated follows a source that was resized.
  const sizeThere = found.resizable ? size : claimedSize;
  const claimed: Claim = { size: sizeThere, blockSize: claimedBlockSize, source, ...claimedDigest };
  const difference = claimDifference(claimed, claim);
  if (difference === undefined) return { claim, digest };
  throw new TransferError('transfer-mismatch', `this target belongs to another transfer: ${difference}`, {
    hint: hintFor(claimed, claim, restarts.startOver),
  });
}
