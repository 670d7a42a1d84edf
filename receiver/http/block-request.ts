/** What the head of a `PUT /blocks/:index` says: digests, coding, length, preconditions. Pure and total. */
import { TransferError } from '../../common/errors.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { ENCODED_GROWTH_BYTES_MAX } from '../../common/protocol/protocol.ts';
import { lengthMismatch } from '../transfer/refusals.ts';
import { joinGiven, parseDigestHeader, parseDigestQuery, type GivenDigest } from './digest-headers.ts';

export type Encoding = 'identity' | 'zstd' | 'gzip';

export interface BlockRequest {
  /** Of the plain block, as the client claims: one of a kind, one at least. */
  readonly digests: readonly GivenDigest[];
  /** Of the encoded body, where the client sent `Content-Digest` with one. */
  readonly encodedDigests: readonly GivenDigest[];
  readonly encoding: Encoding;
  /** Of the body as it travels; longer is refused. */
  readonly bodyBytesMax: number;
  readonly isFlushed: boolean;
}

export interface RequestHead {
  header(name: string): string | undefined;
  query(name: string): string | undefined;
}

/**
 * @param block its length, its index for the hint only, and the digests that can be computed here.
 * @throws TransferError with the code that PROTOCOL.md names for it.
 */
export function parseBlockRequest(
  head: RequestHead,
  { lengthBytes, index, digests }: { lengthBytes: number; index: number; digests: readonly BlockDigest[] },
): BlockRequest {
  if (head.header('content-range') !== undefined) {
    // RFC 9110 section 14.5: a partial PUT must not be taken for a whole one.
    throw new TransferError('bad-request', 'Content-Range is not understood here: a block is put as a whole');
  }
  const encoding = parseEncoding(head.header('content-encoding'));
  const bodyBytesMax = encoding === 'identity' ? lengthBytes : lengthBytes + ENCODED_GROWTH_BYTES_MAX;
  checkLength(head.header('content-length'), encoding, lengthBytes, bodyBytesMax);
  const isFlushed = parseFlush(head.query('flush'));

  const ofContent = parseDigestHeader('Content-Digest', head.header('content-digest'), digests);
  const given = [
    ...parseDigestHeader('Unencoded-Digest', head.header('unencoded-digest'), digests),
    ...parseDigestQuery(head.query('digest'), digests),
    ...(encoding === 'identity' ? ofContent : []),
  ];
  if (given.length === 0) {
    throw new TransferError('digest-required', `block ${index} came without a digest of its plain bytes`, {
      hint: `curl -T b "$U/blocks/${index}?digest=sha256:$(sha256sum <b | cut -c1-64)"`,
    });
  }
  return {
    digests: joinGiven(given, `the digests given for block ${index} are not equal`),
    encodedDigests: encoding === 'identity' ? [] : ofContent,
    encoding,
    bodyBytesMax,
    isFlushed,
  };
}

/** `?flush=y`, the default, answers when it is durable. */
export function parseFlush(value = 'y'): boolean {
  if (value === 'y' || value === 'n') return value === 'y';
  throw new TransferError('bad-request', `flush=${value.slice(0, 20)} is neither y nor n`);
}

function parseEncoding(value: string | undefined): Encoding {
  const name = value?.trim().toLowerCase() ?? 'identity';
  if (name === 'identity' || name === 'zstd' || name === 'gzip') return name;
  if (name === 'x-gzip') return 'gzip';
  throw new TransferError(
    'unsupported-encoding',
    `Content-Encoding ${name} is not supported: zstd, gzip or none`,
  );
}

function checkLength(
  value: string | undefined,
  encoding: Encoding,
  lengthBytes: number,
  bodyBytesMax: number,
): void {
  if (value === undefined) return;
  const length = /^\d{1,15}$/.test(value) ? Number(value) : NaN;
  if (length > bodyBytesMax) throw tooLarge(bodyBytesMax);
  if (encoding === 'identity' && length !== lengthBytes) throw lengthMismatch(lengthBytes, length);
}

export function tooLarge(bodyBytesMax: number): TransferError {
  return new TransferError(
    'too-large',
    `the body is longer than the ${bodyBytesMax} bytes that this block can have`,
  );
}

/**
 * @param present the block's digest as its ETag has it, and as a JSON member; undefined while it is not
 * durable.
 */
export function checkPrecondition(
  value: string | undefined,
  present: { readonly text: string; readonly member: object } | undefined,
): void {
  if (value === undefined || present === undefined) return;
  const names = value.split(',').map((name) => name.trim().replace(/^W\//, ''));
  if (names.includes('*') || names.includes(`"${present.text}"`)) {
    throw new TransferError('precondition', 'the block is already there', { details: { ...present.member } });
  }
}
