/**
 * Replies of the receiver, checked: it is believed only what it repeats of this very request. Pure and total.
 */
import { DIGEST_BYTES } from '../common/digest.ts';
import { NO_MARKS, type DiskMarks } from '../common/disk-places.ts';
import { TransferError } from '../common/errors.ts';
import {
  BLOCK_STATES,
  PROTOCOL_VERSION,
  type BlockReceipt,
  type BlockState,
  type Claim,
  type SourceDescription,
  type TargetDescription,
  type TransferStatus,
  type ZeroReceipt,
} from '../common/protocol.ts';
import { blockCountOf, isGeometry } from '../common/geometry.ts';
import { parseRanges, type Range } from '../common/ranges.ts';
import { printable, textOrNull, textsIn } from './answer-text.ts';
import type { BlockHead, Seal, SealRequest } from './receiver-port.ts';

function badAnswer(what: string): TransferError {
  return new TransferError('bad-answer', `the receiver's answer is not one: ${what}`);
}

function objectOf(body: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new TransferError('bad-answer', "the receiver's answer is not JSON", { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badAnswer('no object');
  return { ...value };
}

function isState(value: unknown): value is BlockState {
  return BLOCK_STATES.some((state) => state === value);
}

export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** A member of an answer that has to be an object. */
function memberOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badAnswer(`no ${name}`);
  return { ...value };
}

function countIn(members: Record<string, unknown>, name: string): number {
  const value = members[name];
  if (!isCount(value)) throw badAnswer(`no count of ${name}`);
  return value;
}

/** Of a disk at the other end. */
function describedIn(members: Record<string, unknown>, name: string): SourceDescription {
  const { description, path, model, serial } = members;
  if (typeof description !== 'string' || typeof path !== 'string') {
    throw badAnswer(`no description of the ${name}`);
  }
  return {
    description: printable(description),
    path: printable(path),
    model: textOrNull(model),
    serial: textOrNull(serial),
  };
}

function targetIn(target: Record<string, unknown>): TargetDescription {
  const { byId, size, sectorBytes, content } = target;
  return {
    ...describedIn(target, 'target'),
    byId: textOrNull(byId),
    size: isCount(size) ? size : null,
    sectorBytes: isCount(sectorBytes) ? sectorBytes : null,
    content: textsIn(content),
  };
}

/** They are only compared; what is none matches nothing. */
function marksIn(value: unknown): DiskMarks {
  const { itself, within } = memberOf(value ?? NO_MARKS, 'marks of the target');
  return { itself: textsIn(itself), within: textsIn(within) };
}

type StatusGeometry = Pick<TransferStatus, 'size' | 'blockSize' | 'blockCount'>;

function geometryIn({ state, size, blockSize }: Record<string, unknown>): StatusGeometry {
  if (state === 'unclaimed') return { size: null, blockSize: null, blockCount: null };
  if (!isCount(size) || !isCount(blockSize)) throw badAnswer('no size');
  const geometry = { sizeBytes: size, blockSizeBytes: blockSize };
  if (!isGeometry(geometry)) throw badAnswer('an impossible geometry');
  return { size, blockSize, blockCount: blockCountOf(geometry) };
}

/** Nothing is taken over that was not looked at: a number that is a text would be shown as it is. */
export function parseTransferStatus({ body }: { body: Buffer }): TransferStatus {
  const status = objectOf(body);
  const { protocol, transferId, epoch, state, source, encodings } = status;
  if (protocol !== PROTOCOL_VERSION) {
    const version = typeof protocol === 'number' ? `version ${protocol}` : 'an unknown version';
    throw new TransferError(
      'transfer-mismatch',
      `the receiver speaks ${version} of the protocol, not ${PROTOCOL_VERSION}`,
      { hint: 'install the same version of dd-transfer on both machines' },
    );
  }
  if (typeof transferId !== 'string' || typeof epoch !== 'string') throw badAnswer('no transferId or epoch');
  if (state !== 'unclaimed' && state !== 'open' && state !== 'sealed') throw badAnswer('no state');
  const target = memberOf(status['target'], 'target');
  const blocks = memberOf(status['blocks'], 'counters');
  const limits = memberOf(status['limits'], 'limits');
  return {
    protocol,
    transferId,
    epoch,
    state,
    ...geometryIn(status),
    source: source === null ? null : describedIn(memberOf(source, 'source'), 'source'),
    target: targetIn(target),
    targetMarks: marksIn(status['targetMarks']),
    blocks: {
      absent: countIn(blocks, 'absent'),
      written: countIn(blocks, 'written'),
      durable: countIn(blocks, 'durable'),
      verified: countIn(blocks, 'verified'),
    },
    limits: {
      connections: countIn(limits, 'connections'),
      zeroRanges: countIn(limits, 'zeroRanges'),
      listing: countIn(limits, 'listing'),
    },
    encodings: textsIn(encodings),
  };
}

/** The transfer as it was claimed, and not another one. */
export function parseClaimAnswer(reply: { body: Buffer }, claim: Claim): TransferStatus {
  const status = parseTransferStatus(reply);
  if (status.state === 'unclaimed' || status.size !== claim.size || status.blockSize !== claim.blockSize) {
    throw badAnswer('another claim than the one that was sent');
  }
  return status;
}

/** Invariant I6: a block counts only if the receipt repeats this request. */
export function parseBlockReceipt(
  { body }: { body: Buffer },
  request: { index: number; lengthBytes: number; digest: Buffer },
): BlockReceipt {
  const receipt = objectOf(body);
  const { index, length, sha256, state, generation, epoch, transferId, offset } = receipt;
  if (
    index !== request.index ||
    length !== request.lengthBytes ||
    sha256 !== request.digest.toString('hex')
  ) {
    throw badAnswer(`a receipt for another block than ${request.index}`);
  }
  if (!isState(state) || state === 'absent' || !isCount(generation) || !isCount(offset))
    throw badAnswer('no receipt');
  if (typeof epoch !== 'string' || typeof transferId !== 'string') throw badAnswer('no epoch');
  return {
    transferId,
    epoch,
    index: request.index,
    offset,
    length: request.lengthBytes,
    sha256,
    state,
    generation,
  };
}

/** Not by comparing JSON: arrays within arrays within arrays would exhaust the stack. */
function isSameRanges(value: unknown, requested: readonly Range[]): boolean {
  const ranges = parseRanges(value, Infinity, requested.length);
  return (
    ranges !== undefined &&
    requested.every(([first, count], at) => ranges[at]?.[0] === first && ranges[at][1] === count)
  );
}

export function parseZeroReceipt({ body }: { body: Buffer }, requested: readonly Range[]): ZeroReceipt {
  const { epoch, generation, state, transferId, ranges } = objectOf(body);
  if (!isSameRanges(ranges, requested)) throw badAnswer('a receipt for other zeros');
  if (
    typeof epoch !== 'string' ||
    !isCount(generation) ||
    !isState(state) ||
    state === 'absent' ||
    typeof transferId !== 'string'
  ) {
    throw badAnswer('no receipt for zeros');
  }
  return { transferId, epoch, ranges: requested, state, generation };
}

export function parseHead(headers: {
  etag: string | undefined;
  state: string | undefined;
  generation: string | undefined;
  epoch: string | undefined;
}): BlockHead {
  const hex = /^"([0-9a-f]{64})"$/.exec(headers.etag ?? '')?.[1] ?? '';
  const digest = Buffer.from(hex, 'hex');
  const generation = /^\d{1,16}$/.test(headers.generation ?? '') ? Number(headers.generation) : NaN;
  const { state, epoch } = headers;
  const isThere = isState(state) && state !== 'absent';
  if (digest.length !== DIGEST_BYTES || !isThere || !isCount(generation) || epoch === undefined) {
    throw badAnswer('a HEAD without its headers');
  }
  return { digest, state, generation, epoch };
}

/** The receipt must be of this very copy. */
export function parseSeal({ body }: { body: Buffer }, request: SealRequest): Seal {
  const { text, signature } = objectOf(body);
  if (typeof text !== 'string' || typeof signature !== 'string') throw badAnswer('no receipt');
  const receipt = objectOf(Buffer.from(text));
  const { transferId, size, blockSize, blockCount, root, verified } = receipt;
  const { sizeBytes, blockSizeBytes } = request.geometry;
  const isOurs =
    transferId === request.transferId &&
    size === sizeBytes &&
    blockSize === blockSizeBytes &&
    blockCount === blockCountOf(request.geometry) &&
    root === `sha256:${request.root.toString('hex')}`;
  if (!isOurs) throw badAnswer('a receipt for another copy');
  if (verified !== 'none' && verified !== 'read-back')
    throw badAnswer('a receipt that does not say how it was verified');
  return { verified, text, signature };
}
