/** Whether two claims belong to the same transfer. */
import type { DigestAlgorithm } from '../digest/digest.ts';
import type { Claim, SourceDescription } from './protocol.ts';
import { formatSize } from '../units.ts';

/** Of a pipe: read once, in order, and its size may become known only at its end. */
export function isStream(claim: Claim): boolean {
  return claim.size === null || claim.stream === true;
}

/** Claims from before BLAKE3 was supported name none. */
export function digestNameOf(claim: Claim): DigestAlgorithm {
  return claim.digest ?? 'sha-256';
}

/**
 * The difference between two claims that makes them different transfers, in words; undefined if there is
 * none. The claim of a pipe may leave out the size, before and after it is known.
 */
export function claimDifference(before: Claim, after: Claim): string | undefined {
  if (isStream(before) !== isStream(after)) {
    return isStream(before)
      ? 'its source is a pipe, this one is a disk or a file'
      : 'its source is a disk or a file, this one is a pipe';
  }
  if (before.size !== null && after.size !== null && before.size !== after.size) {
    return `its source has ${before.size} bytes (${formatSize(before.size)}), this one has ${after.size}`;
  }
  if (before.blockSize !== after.blockSize) {
    return `it uses blocks of ${formatSize(before.blockSize)}, not ${formatSize(after.blockSize)}`;
  }
  const serials = [serialOf(before.source), serialOf(after.source)];
  if (serials[0] !== undefined && serials[1] !== undefined && serials[0] !== serials[1]) {
    return `its source is ${serials[0]}, this one is ${serials[1]}`;
  }
  if (digestNameOf(before) !== digestNameOf(after)) {
    return `it uses ${digestNameOf(before)} digests, not ${digestNameOf(after)}`;
  }
  return undefined;
}

/** Names may change with every boot, serial numbers do not. */
function serialOf(source: SourceDescription): string | undefined {
  if (source.serial === null) return undefined;
  return source.model === null ? source.serial : `${source.model} ${source.serial}`;
}

/** The hint when they differ. @param startOver what to type for that. */
export function hintFor(before: Claim, after: Claim, startOver: string): string {
  const isSameSource = isStream(before) === isStream(after) && before.size === after.size;
  if (isSameSource && before.blockSize !== after.blockSize) {
    return 'leave --block-size out to resume with the block size of the transfer';
  }
  const digest = digestNameOf(before);
  if (digest !== digestNameOf(after) && claimDifference(before, { ...after, digest }) === undefined) {
    return 'leave --digest out to resume with the digests of the transfer';
  }
  return `if the earlier transfer is not needed, ${startOver}`;
}
