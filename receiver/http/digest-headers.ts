/** The digests that come with a block: parsed in every spelling, and compared with its bytes. */
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
 * @param digests that this receiver can compute; members of other kinds are ignored.
 * @returns one of each kind, none without the header.
 * @throws TransferError `digest-unsupported`, `digest-conflict`.
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
      throw new TransferError('digest-unsupported', `${name} must have the form sha-256=:base64:`);
    const by = digestIn(digests, match[1]);
    if (by === undefined) continue;
    const expected = Buffer.from(match[2] ?? '', 'base64');
    if (expected.length !== DIGEST_BYTES || expected.toString('base64') !== match[2]) {
      throw new TransferError(
        'digest-unsupported',
        `${by.algorithm} in ${name} must be base64 of ${DIGEST_BYTES} bytes`,
      );
    }
    given.push({ by, expected });
  }
  if (given.length === 0) {
    const known = digests.map(({ algorithm }) => algorithm).join(' or ');
    throw new TransferError('digest-unsupported', `${name} has no ${known} member`);
  }
  return joinGiven(given, `${name} has two different digests of one kind`);
}

/** `?digest=sha256:<64 hex>` or `blake3:<64 hex>`. @throws TransferError `digest-unsupported`. */
export function parseDigestQuery(value: string | undefined, digests: readonly BlockDigest[]): GivenDigest[] {
  if (value === undefined) return [];
  const match = /^(sha256|blake3):([0-9a-fA-F]{64})$/.exec(value);
  if (match?.[2] === undefined) {
    throw new TransferError(
      'digest-unsupported',
      '?digest= must have the form sha256:<64 hexadecimal digits> or blake3:<64 hexadecimal digits>',
    );
  }
  const by = digests.find(({ algorithm }) => DIGEST_NAMES[algorithm] === match[1]);
  if (by === undefined) throw digestUnsupported(`${match[1]}`, digests, 'use sha256sum and ?digest=sha256:');
  return [{ by, expected: Buffer.from(match[2], 'hex') }];
}

/** One of each kind. @param conflict the message when two of a kind differ. */
export function joinGiven(given: readonly GivenDigest[], conflict: string): GivenDigest[] {
  const joined: GivenDigest[] = [];
  for (const one of given) {
    const same = joined.find(({ by }) => by.algorithm === one.by.algorithm);
    if (same === undefined) joined.push(one);
    else if (!same.expected.equals(one.expected)) throw new TransferError('digest-conflict', conflict);
  }
  return joined;
}

/**
 * Compares the plain block with every digest that came with it.
 * @returns its digest in the transfer's own algorithm. @throws TransferError `digest-mismatch`.
 */
export async function checkBlock(
  bytes: Uint8Array<ArrayBuffer>,
  given: readonly GivenDigest[],
  own: BlockDigest,
  index: number,
): Promise<Buffer> {
  // Computed first: if memory changes the bytes later, one of the comparisons below fails.
  const known = given.find(({ by }) => by.algorithm === own.algorithm);
  const digest = known?.expected ?? (await own.of(bytes));
  await compareDigests(bytes, given, index);
  return digest;
}

/** @throws TransferError `digest-mismatch`. */
export async function compareDigests(
  bytes: Uint8Array<ArrayBuffer>,
  given: readonly GivenDigest[],
  index: number,
): Promise<void> {
  for (const { by, expected } of given) {
    if ((await by.of(bytes)).equals(expected)) continue;
    // The computed digest is left out: with it the receiver would be an oracle.
    throw new TransferError(
      'digest-mismatch',
      `the body of block ${index} does not match the digest that came with it`,
    );
  }
}
