/** The head of a `PUT /blocks/:index`, parsed whole into one value before any of the body is read. Pure. */
import { parseSourceErrors, type Area } from '../../common/areas.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import type { BlockIndex } from '../../common/geometry.ts';
import { ENCODED_GROWTH_BYTES_MAX, HEADER_SOURCE_ERRORS } from '../../common/protocol/protocol.ts';
import { lengthMismatch } from '../transfer/refusals.ts';
import { joinGiven, parseDigestHeader, parseDigestQuery, type GivenDigest } from './digest-headers.ts';

export type Encoding = 'identity' | 'zstd' | 'gzip';

export interface BlockHead {
  readonly index: BlockIndex;
  /** Of the plain block. */
  readonly lengthBytes: number;
  /** Of the plain block, as the client gave them: at least one, at most one of a kind. */
  readonly digests: readonly GivenDigest[];
  /** Of the encoded body: from `Content-Digest` beside a `Content-Encoding`. */
  readonly encodedDigests: readonly GivenDigest[];
  readonly encoding: Encoding;
  /** Of the body as it travels. */
  readonly bodyBytesMax: number;
  readonly unreadable: readonly Area[];
  /** Reply only once the block is durable. */
  readonly isFlushed: boolean;
}

/** The block that the request is for. */
export interface WantedBlock {
  readonly index: BlockIndex;
  readonly offset: number;
  readonly lengthBytes: number;
  /** Of the source. */
  readonly sizeBytes: number;
  /** That this receiver can compute. */
  readonly digests: readonly BlockDigest[];
  /** Its digest, as in its ETag and as a JSON member, while it is durable. */
  readonly present: { readonly text: string; readonly member: object } | undefined;
}

export interface RequestHead {
  header(name: string): string | undefined;
  query(name: string): string | undefined;
}

/** @throws TransferError with the code that PROTOCOL.md names. */
export function parseBlockHead(head: RequestHead, block: WantedBlock): BlockHead {
  const { index, lengthBytes } = block;
  if (head.header('content-range') !== undefined) {
    // RFC 9110 section 14.5: a partial PUT must not count as a whole one.
    throw new TransferError('bad-request', 'Content-Range is not supported: send the whole block');
  }
  const encoding = parseEncoding(head.header('content-encoding'));
  const isEncoded = encoding !== 'identity';
  const bodyBytesMax = isEncoded ? lengthBytes + ENCODED_GROWTH_BYTES_MAX : lengthBytes;
  checkLength(head.header('content-length'), isEncoded, lengthBytes, bodyBytesMax);
  const isFlushed = parseFlush(head.query('flush'));
  const ofBody = parseDigestHeader('Content-Digest', head.header('content-digest'), block.digests);
  const given = [
    ...parseDigestHeader('Unencoded-Digest', head.header('unencoded-digest'), block.digests),
    ...parseDigestQuery(head.query('digest'), block.digests),
    ...(isEncoded ? [] : ofBody),
  ];
  if (given.length === 0) {
    throw new TransferError('digest-required', `block ${index} came without a digest of its plain bytes`, {
      hint: `curl -T b "$U/blocks/${index}?digest=sha256:$(sha256sum <b | cut -c1-64)"`,
    });
  }
  const digests = joinGiven(given, `the digests of block ${index} contradict each other`);
  const unreadable = parseSourceErrors(head.header(HEADER_SOURCE_ERRORS), block);
  refuseIfPresent(head.header('if-none-match'), block.present);
  const encodedDigests = isEncoded ? ofBody : [];
  return { index, lengthBytes, digests, encodedDigests, encoding, bodyBytesMax, unreadable, isFlushed };
}

/** `?flush=y` is the default: reply once the data is durable. */
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
  isEncoded: boolean,
  lengthBytes: number,
  bodyBytesMax: number,
): void {
  if (value === undefined) return;
  const length = /^\d{1,15}$/.test(value) ? Number(value) : NaN;
  if (length > bodyBytesMax) throw tooLarge(bodyBytesMax);
  if (!isEncoded && length !== lengthBytes) throw lengthMismatch(lengthBytes, length);
}

export function tooLarge(bytesMax: number): TransferError {
  return new TransferError('too-large', `the body is longer than the ${bytesMax} bytes allowed here`);
}

function refuseIfPresent(ifNoneMatch: string | undefined, present: WantedBlock['present']): void {
  if (ifNoneMatch === undefined || present === undefined) return;
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  if (tags.includes('*') || tags.includes(`"${present.text}"`)) {
    throw new TransferError('precondition', 'the block is already there', { details: { ...present.member } });
  }
}
