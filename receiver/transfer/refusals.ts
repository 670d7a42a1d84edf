/** Refusals that the HTTP layer shares with the operations below it. */
import { digestIn, type BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { MISSING_RANGES_MAX } from '../../common/protocol/protocol.ts';
import { formatBlocks } from '../../common/ranges.ts';
import type { OpenTransfer, Transfer } from './transfer.ts';

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

/** The target is not what was sealed any more. */
export function targetDiffers(transfer: Transfer, { table }: OpenTransfer): TransferError {
  const different = table.different(MISSING_RANGES_MAX);
  const { path } = transfer.target.identity;
  return new TransferError(
    'target-differs',
    `${path} no longer holds what was sealed: ${table.differentCount} of ${table.blockCount} blocks differ ` +
      `(${formatBlocks(different)}); another program has written to it`,
    {
      details: { different, differentCount: table.differentCount },
      hint: `run 'ddt-receive --update ${path}' there, then the same command again to send those blocks`,
    },
  );
}
