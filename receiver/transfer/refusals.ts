/** Refusals that the HTTP layer shares with the operations below it. */
import { digestIn, type BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';

export function lengthMismatch(expected: number, got: number): TransferError {
  return new TransferError('length-mismatch', `this block has ${expected} bytes, the body has ${got}`, {
    details: { expected, got },
  });
}

/**
 * The digest that a claim or a journal names.
 * @param hint what to do when this receiver can't compute it. @throws TransferError `digest-unsupported`.
 */
export function digestNamed(name: string, digests: readonly BlockDigest[], hint: string): BlockDigest {
  const digest = digestIn(digests, name);
  if (digest === undefined) throw digestUnsupported(name, digests, hint);
  return digest;
}

export function digestUnsupported(
  name: string,
  digests: readonly BlockDigest[],
  hint: string,
): TransferError {
  const known = digests.map(({ algorithm }) => algorithm).join(' and ');
  const message = `this receiver can compute ${known} digests, not ${name.slice(0, 20)}`;
  return new TransferError('digest-unsupported', message, { hint });
}
