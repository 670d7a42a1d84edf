/** What the head of a `PUT /blocks/:index` says: digests, coding, length, preconditions. Pure and total. */
import { TransferError } from '../common/errors.ts';
import { DIGEST_BYTES } from '../common/digest.ts';
import { ENCODED_GROWTH_BYTES_MAX } from '../common/protocol.ts';

export type Encoding = 'identity' | 'zstd' | 'gzip';

export interface BlockRequest {
  /** 32 bytes: SHA-256 of the plain block, as the client claims. */
  readonly digest: Buffer;
  /** 32 bytes: SHA-256 of the encoded body, where the client sent `Content-Digest` with an encoded body. */
  readonly encodedDigest: Buffer | undefined;
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
 * @param lengthBytes of the block. @param index for the hint only.
 * @throws TransferError with the code that PROTOCOL.md names for it.
 */
export function parseBlockRequest(head: RequestHead, lengthBytes: number, index: number): BlockRequest {
  if (head.header('content-range') !== undefined) {
    // RFC 9110 section 14.5: a partial PUT must not be taken for a whole one.
    throw new TransferError('bad-request', 'Content-Range is not understood here: a block is put as a whole');
  }
  const encoding = parseEncoding(head.header('content-encoding'));
  const bodyBytesMax = encoding === 'identity' ? lengthBytes : lengthBytes + ENCODED_GROWTH_BYTES_MAX;
  checkLength(head.header('content-length'), encoding, lengthBytes, bodyBytesMax);
  const isFlushed = parseFlush(head.query('flush'));

  const contentDigest = parseDigestHeader('Content-Digest', head.header('content-digest'));
  const candidates = [
    parseDigestHeader('Unencoded-Digest', head.header('unencoded-digest')),
    parseDigestQuery(head.query('digest')),
    encoding === 'identity' ? contentDigest : undefined,
  ].filter((digest) => digest !== undefined);
  const [digest] = candidates;
  if (digest === undefined) {
    throw new TransferError('digest-required', `block ${index} came without the SHA-256 of its plain bytes`, {
      hint: `curl -T b "$U/blocks/${index}?digest=sha256:$(sha256sum <b | cut -c1-64)"`,
    });
  }
  if (candidates.some((other) => !other.equals(digest))) {
    throw new TransferError('digest-conflict', `the digests given for block ${index} are not equal`);
  }
  const encodedDigest = encoding === 'identity' ? undefined : contentDigest;
  return { digest, encodedDigest, encoding, bodyBytesMax, isFlushed };
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

export function lengthMismatch(expected: number, got: number): TransferError {
  return new TransferError('length-mismatch', `this block has ${expected} bytes, the body has ${got}`, {
    details: { expected, got },
  });
}

/**
 * A Structured Fields dictionary of byte sequences (RFC 9530 section 2, RFC 8941 section 3.2).
 * @returns the 32 bytes of its sha-256 member, undefined when there is no header.
 */
export function parseDigestHeader(name: string, value: string | undefined): Buffer | undefined {
  if (value === undefined) return undefined;
  const digests: Buffer[] = [];
  for (const member of value.split(',')) {
    const match = /^\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):\s*$/.exec(member);
    if (match === null)
      throw new TransferError('digest-unsupported', `${name} is not of the form sha-256=:base64:`);
    if (match[1] !== 'sha-256') continue;
    const digest = Buffer.from(match[2] ?? '', 'base64');
    if (digest.length !== DIGEST_BYTES || digest.toString('base64') !== match[2]) {
      throw new TransferError(
        'digest-unsupported',
        `the sha-256 of ${name} is not base64 of ${DIGEST_BYTES} bytes`,
      );
    }
    digests.push(digest);
  }
  const [digest] = digests;
  if (digest === undefined) throw new TransferError('digest-unsupported', `${name} has no sha-256 member`);
  if (digests.some((other) => !other.equals(digest))) {
    throw new TransferError('digest-conflict', `${name} has two different sha-256 members`);
  }
  return digest;
}

/** `?digest=sha256:<64 hex>`, the spelling for people. */
function parseDigestQuery(value: string | undefined): Buffer | undefined {
  if (value === undefined) return undefined;
  const match = /^sha256:([0-9a-fA-F]{64})$/.exec(value);
  if (match?.[1] === undefined) {
    throw new TransferError(
      'digest-unsupported',
      '?digest= is not of the form sha256:<64 hexadecimal digits>',
    );
  }
  return Buffer.from(match[1], 'hex');
}

/** @param present hex digest of the block as it is listed, undefined while it is not durable. */
export function checkPrecondition(value: string | undefined, present: string | undefined): void {
  if (value === undefined || present === undefined) return;
  const names = value.split(',').map((name) => name.trim().replace(/^W\//, ''));
  if (names.includes('*') || names.includes(`"${present}"`)) {
    throw new TransferError('precondition', 'the block is already there', { details: { sha256: present } });
  }
}
