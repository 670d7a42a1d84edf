/** The digest algorithm of a transfer: that of its claim, or else the fastest that both ends have. */
import { BLAKE3_HINT } from '../../common/digest/blake3.ts';
import {
  DIGEST_ALGORITHMS,
  SHA256,
  digestIn,
  type BlockDigest,
  type DigestAlgorithm,
} from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { BY_HAND, type Restarts } from './restarts.ts';

/** Values of `--digest`. */
const DIGEST_CHOICES = ['auto', ...DIGEST_ALGORITHMS] as const;
export type DigestChoice = (typeof DIGEST_CHOICES)[number];

/** @throws TransferError `usage`. */
export function parseDigestChoice(text: string): DigestChoice {
  const choice = DIGEST_CHOICES.find((each) => each === text);
  if (choice !== undefined) return choice;
  throw new TransferError('usage', `--digest ${text} is not one of ${DIGEST_CHOICES.join(', ')}`);
}

/**
 * Whether the choice fits the claim of the transfer is checked by claimDifference.
 * @param digests that can be computed here. @returns one of them.
 * @throws TransferError `digest-unsupported`.
 */
export function chooseDigest(
  choice: DigestChoice,
  digests: readonly BlockDigest[],
  found: Pick<TransferStatus, 'digest' | 'digests'>,
  { startOver }: Restarts = BY_HAND,
): BlockDigest {
  if (choice === 'auto' && found.digest !== null) return required(found.digest, digests, begun(startOver));
  if (choice !== 'auto') {
    if (found.digest === null && !found.digests.includes(choice)) throw lackedThere(choice);
    return required(choice, digests, WANTED);
  }
  const common = digests.filter(({ algorithm }) => found.digests.includes(algorithm));
  // The last one is the fastest.
  return common.at(-1) ?? SHA256;
}

interface Lack {
  readonly message: (name: string) => string;
  readonly hint: string;
}

function begun(startOver: string): Lack {
  return {
    message: (name) => `this transfer uses ${name} digests, which cannot be computed here`,
    hint: `${BLAKE3_HINT}; or start over without them: ${startOver}`,
  };
}

const WANTED: Lack = {
  message: (name) => `${name} digests cannot be computed here`,
  hint: `${BLAKE3_HINT}; or leave --digest out to use what both ends have`,
};

function required(
  algorithm: DigestAlgorithm,
  digests: readonly BlockDigest[],
  { message, hint }: Lack,
): BlockDigest {
  const digest = digestIn(digests, algorithm);
  if (digest !== undefined) return digest;
  throw new TransferError('digest-unsupported', message(algorithm), { hint });
}

function lackedThere(algorithm: DigestAlgorithm): TransferError {
  return new TransferError('digest-unsupported', `the receiver cannot compute ${algorithm} digests`, {
    hint: 'run npm ci where ddt-receive is installed, or leave --digest out to use what both ends have',
  });
}
