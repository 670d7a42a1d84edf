/** Responses of the receiver, checked: it is believed only if it repeats the request. Pure and total. */
import type { ReadRate } from '../../common/io/read-rate.ts';
import { parseAreas } from '../../common/areas.ts';
import { DIGEST_BYTES, type DigestAlgorithm } from '../../common/digest/digest.ts';
import { DIGEST_NAMES, digestMember } from '../../common/digest/digest-names.ts';
import {
  BLOCK_STATES,
  UNREADABLE_AREAS_MAX,
  type BlockResult,
  type BlockState,
  type ProveRequest,
  type ZeroResult,
} from '../../common/protocol/protocol.ts';
import { blockCountOf } from '../../common/geometry.ts';
import { parseLeftOut } from '../../common/protocol/left-out.ts';
import { parseRanges, type Range } from '../../common/ranges.ts';
import { badResponse, isCount, objectOf, readBackIn, textOrNull } from './response-fields.ts';
import type { BlockHead, Seal, SealRequest } from './receiver-port.ts';

function isState(value: unknown): value is BlockState {
  return BLOCK_STATES.some((state) => state === value);
}

/** Invariant I6: a block counts only if the result repeats the request. */
export function parseBlockResult(
  { body }: { body: Buffer },
  request: { index: number; lengthBytes: number; digest: Buffer; algorithm: DigestAlgorithm },
): BlockResult {
  const result = objectOf(body);
  const { index, length, state, generation, epoch, transferId, offset } = result;
  if (
    index !== request.index ||
    length !== request.lengthBytes ||
    result[DIGEST_NAMES[request.algorithm]] !== request.digest.toString('hex')
  ) {
    throw badResponse(`not for block ${request.index} as it was sent`);
  }
  if (!isState(state) || state === 'absent' || !isCount(generation) || !isCount(offset))
    throw badResponse('no state, generation or offset');
  if (typeof epoch !== 'string' || typeof transferId !== 'string')
    throw badResponse('no epoch or transferId');
  return {
    transferId,
    epoch,
    index: request.index,
    offset,
    length: request.lengthBytes,
    ...digestMember(request.algorithm, request.digest),
    state,
    generation,
  };
}

/** Not by comparing JSON: deeply nested arrays would exhaust the stack. */
function isSameRanges(value: unknown, requested: readonly Range[]): boolean {
  const ranges = parseRanges(value, Infinity, requested.length);
  return (
    ranges !== undefined &&
    requested.every(([first, count], at) => ranges[at]?.[0] === first && ranges[at][1] === count)
  );
}

export function parseZeroResult({ body }: { body: Buffer }, requested: readonly Range[]): ZeroResult {
  const { epoch, generation, state, transferId, ranges } = objectOf(body);
  if (!isSameRanges(ranges, requested)) throw badResponse('not for the ranges that were sent');
  if (
    typeof epoch !== 'string' ||
    !isCount(generation) ||
    !isState(state) ||
    state === 'absent' ||
    typeof transferId !== 'string'
  ) {
    throw badResponse('no state, generation, epoch or transferId');
  }
  return { transferId, epoch, ranges: requested, state, generation };
}

export function parseHead(headers: {
  etag: string | undefined;
  state: string | undefined;
  generation: string | undefined;
  epoch: string | undefined;
  sourceErrors?: string | undefined;
}): BlockHead {
  const [, name, hex] = /^"(blake3:)?([0-9a-f]{64})"$/.exec(headers.etag ?? '') ?? [];
  const digest = Buffer.from(hex ?? '', 'hex');
  const algorithm = name === undefined ? 'sha-256' : 'blake3';
  const generation = /^\d{1,16}$/.test(headers.generation ?? '') ? Number(headers.generation) : NaN;
  const { state, epoch } = headers;
  const isThere = isState(state) && state !== 'absent';
  if (digest.length !== DIGEST_BYTES || !isThere || !isCount(generation) || epoch === undefined) {
    throw badResponse('a HEAD without the headers of a block');
  }
  return { digest, algorithm, state, generation, epoch, sourceErrors: headers.sourceErrors ?? '' };
}

/** @returns 32 bytes for each area. */
export function parseProof(
  { body }: { body: Buffer },
  { nonce, areas }: ProveRequest,
  transferId: string,
): Buffer[] {
  const result = objectOf(body);
  const { digests } = result;
  const isOurs =
    result['transferId'] === transferId &&
    result['nonce'] === nonce &&
    Array.isArray(digests) &&
    digests.length === areas.length;
  if (!isOurs) throw badResponse('not for the areas that were to be proven');
  return digests.map((digest: unknown) => {
    if (typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest)) return Buffer.from(digest, 'hex');
    throw badResponse('no digest of an area');
  });
}

export function parseReadRate({ body }: { body: Buffer }): ReadRate {
  const { bytes, ms } = objectOf(body);
  if (!isCount(bytes) || !isCount(ms)) throw badResponse('no rate');
  return { bytes, ms };
}

/** The receipt must be of this copy. */
export function parseSeal({ body }: { body: Buffer }, request: SealRequest): Seal {
  // A receiver of version 0.1 does not say it.
  const { text, signature, changedCount = 0 } = objectOf(body);
  if (!isCount(changedCount)) throw badResponse('no count of changed blocks');
  if (typeof text !== 'string' || typeof signature !== 'string') throw badResponse('no text or signature');
  const receipt = objectOf(Buffer.from(text));
  // Receipts from before BLAKE3 was supported name no digest.
  const { transferId, size, blockSize, blockCount, digest = 'sha-256', root, verified } = receipt;
  const { sizeBytes, blockSizeBytes } = request.geometry;
  const isOurs =
    transferId === request.transferId &&
    size === sizeBytes &&
    blockSize === blockSizeBytes &&
    blockCount === blockCountOf(request.geometry) &&
    digest === request.algorithm &&
    root === `sha256:${request.root.toString('hex')}`;
  if (!isOurs) throw badResponse('a receipt of another copy');
  if (verified !== 'none' && verified !== 'read-back')
    throw badResponse('a receipt that does not say how it was verified');
  const unreadable = parseAreas(receipt['unreadable'], sizeBytes, UNREADABLE_AREAS_MAX);
  if (unreadable === undefined) throw badResponse('a receipt without its unreadable areas');
  // Receivers of version 0.2 and earlier take no copy that leaves anything out.
  const leftOut = parseLeftOut(receipt['leftOut'] ?? null, sizeBytes);
  if (leftOut === undefined) throw badResponse('a receipt without what was left out');
  const verifiedAt = textOrNull(receipt['verifiedAt']);
  const readBack = verified === 'none' ? null : readBackIn(receipt);
  return { verified, readBack, verifiedAt, unreadable, leftOut, text, signature, changedCount };
}
