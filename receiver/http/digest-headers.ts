/** The digests that come with a block, in every spelling, and what they are compared with. */
import { DIGEST_BYTES, digestIn, type BlockDigest } from '../../common/digest/digest.ts';
import { DIGEST_NAMES } from '../../common/digest/digest-names.ts';
import { TransferError } from '../../common/errors.ts';
import { digestUnsupported } from '../transfer/refusals.ts';

export interface GivenDigest {
  readonly by: BlockDigest;
  /** 32 bytes. */
  readonly expected: Buffer;
}

/**
 * A Structured Fields dictionary of byte sequences (RFC 9530 section 2, RFC 8941 section 3.2).
 * @param digests that can be computed here; members of other kinds are passed over.
 * @returns one for each kind; none when there is no header. @throws TransferError `digest-unsupported`,
 * `digest-conflict`.
 */
export function parseDigestHeader(
  name: string,
  value: string | undefined,
  digests: readonly BlockDigest[],
): GivenDigest[] {
  if (value === undefined) return [];
  const given: GivenDigest[] = [];
  for (const member of value.split(',')) {
    const match = /^\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):\s*$/.exec(member);
    if (match === null)
      throw new TransferError('digest-unsupported', `${name} is not of the form sha-256=:base64:`);
    const by = digestIn(digests, match[1]);
    if (by === undefined) continue;
    const expected = Buffer.from(match[2] ?? '', 'base64');
    if (expected.length !== DIGEST_BYTES || expected.toString('base64') !== match[2]) {
      throw new TransferError(
        'digest-unsupported',
        `the ${by.algorithm} of ${name} is not base64 of ${DIGEST_BYTES} bytes`,
      );
    }
    given.push({ by, expected });
  }
  if (given.length === 0) {
    const known = digests.map(({ algorithm }) => algorithm).join(' or ');
    throw new TransferError('digest-unsupported', `${name} has no ${known} member`);
  }
  return joinGiven(given, `${name} has two different members of one kind`);
}

/** `?digest=sha256:<64 hex>` or `blake3:<64 hex>`, the spelling for people. @throws as the other. */
export function parseDigestQuery(value: string | undefined, digests: readonly BlockDigest[]): GivenDigest[] {
  if (value === undefined) return [];
  const match = /^(sha256|blake3):([0-9a-fA-F]{64})$/.exec(value);
  if (match?.[2] === undefined) {
    throw new TransferError(
      'digest-unsupported',
      '?digest= is not of the form sha256:<64 hexadecimal digits>, or blake3:',
    );
  }
  const by = digests.find(({ algorithm }) => DIGEST_NAMES[algorithm] === match[1]);
  if (by === undefined) throw digestUnsupported(`${match[1]}`, digests, 'use sha256sum and ?digest=sha256:');
  return [{ by, expected: Buffer.from(match[2], 'hex') }];
}

/** One of each kind. @param conflict what is said when two of a kind are not equal. */
export function joinGiven(given: readonly GivenDigest[], conflict: string): GivenDigest[] {
  const joined: GivenDigest[] = [];
  for (const one of given) {
    const same = joined.find(({ by }) => by.algorithm === one.by.algorithm);
    if (same === undefined) joined.push(one);
    else if (!same.expected.equals(one.expected)) throw new TransferError('digest-conflict', conflict);
  }
  return joined;
}

/** Compares every one of them with the bytes. @throws TransferError `digest-mismatch`. */
export async function checkDigests(
  bytes: Uint8Array<ArrayBuffer>,
  given: readonly GivenDigest[],
  index: number,
): Promise<void> {
  for (const { by, expected } of given) {
    if (!(await by.of(bytes)).equals(expected)) throw digestMismatch(index);
  }
}

/** The transfer's own digest of bytes that are still to be compared with all that was given. */
export async function ownDigest(
  bytes: Uint8Array<ArrayBuffer>,
  given: readonly GivenDigest[],
  own: BlockDigest,
): Promise<Buffer> {
  const known = given.find(({ by }) => by.algorithm === own.algorithm);
  return known?.expected ?? (await own.of(bytes));
}

/** Says nothing of what was computed: that would make the receiver an oracle. */
function digestMismatch(index: number): TransferError {
  return new TransferError(
    'digest-mismatch',
    `the body of block ${index} does not have the digest that came with it`,
  );
}
