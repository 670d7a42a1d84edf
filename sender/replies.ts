/** Replies of the receiver, checked: it is believed only what it repeats of this very request. Pure and total. */
import { DIGEST_BYTES } from '../common/digest.ts';
import { TransferError } from '../common/errors.ts';
import {
  BLOCK_STATES,
  PROTOCOL_VERSION,
  type BlockReceipt,
  type BlockState,
  type TransferStatus,
  type ZeroReceipt,
} from '../common/protocol.ts';
import { blockCountOf, isGeometry } from '../common/geometry.ts';
import type { Range } from '../common/ranges.ts';
import type { BlockHead, Seal, SealRequest } from './receiver-port.ts';

/** Texts of the receiver that a person is shown. */
const TEXT_LENGTH_MAX = 500;

/** Nothing that could steer a terminal, and not endless. */
export function printable(text: string): string {
  return text.replaceAll(/[^\u0020-\u007e\u00a0-\uffff]/g, '?').slice(0, TEXT_LENGTH_MAX);
}

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

export function parseTransferStatus({ body }: { body: Buffer }): TransferStatus {
  const status = objectOf(body);
  const { protocol, transferId, state, size, blockSize, target, limits, blocks } = status;
  if (protocol !== PROTOCOL_VERSION) {
    throw new TransferError(
      'transfer-mismatch',
      `the receiver speaks version ${String(protocol).slice(0, 9)} of the protocol, not ${PROTOCOL_VERSION}`,
      { hint: 'install the same version of dd-transfer on both machines' },
    );
  }
  if (typeof transferId !== 'string') throw badAnswer('no transferId');
  if (state !== 'unclaimed' && state !== 'open' && state !== 'sealed') throw badAnswer('no state');
  if (typeof target !== 'object' || target === null) throw badAnswer('no target');
  if (typeof limits !== 'object' || limits === null || typeof blocks !== 'object' || blocks === null) {
    throw badAnswer('no limits or no counters');
  }
  if (state !== 'unclaimed') {
    if (!isCount(size) || !isCount(blockSize)) throw badAnswer('no size');
    if (!isGeometry({ sizeBytes: size, blockSizeBytes: blockSize }))
      throw badAnswer('an impossible geometry');
  }
  const { description, path, size: targetSize } = { ...target } as Record<string, unknown>;
  if (typeof description !== 'string' || typeof path !== 'string')
    throw badAnswer('no description of the target');
  const shown = {
    description: printable(description),
    path: printable(path),
    size: isCount(targetSize) ? targetSize : null,
  };
  return { ...(status as unknown as TransferStatus), target: { model: null, serial: null, ...shown } };
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

export function parseZeroReceipt({ body }: { body: Buffer }, requested: readonly Range[]): ZeroReceipt {
  const { epoch, generation, state, transferId, ranges } = objectOf(body);
  if (JSON.stringify(ranges) !== JSON.stringify(requested)) throw badAnswer('a receipt for other zeros');
  if (
    typeof epoch !== 'string' ||
    !isCount(generation) ||
    !isState(state) ||
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
  const generation = Number(headers.generation);
  const { state, epoch } = headers;
  if (digest.length !== DIGEST_BYTES || !isState(state) || !isCount(generation) || epoch === undefined) {
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
