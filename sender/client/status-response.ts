/** Responses with the status of a transfer, checked. Pure and total. */
import { parseAreas } from '../../common/areas.ts';
import { digestNameOf } from '../../common/protocol/claim.ts';
import { isDigestAlgorithm } from '../../common/digest/digest.ts';
import { NO_MARKS, type DiskMarks } from '../../common/disk/disk-places.ts';
import { TransferError } from '../../common/errors.ts';
import { BLOCK_COUNT_MAX, blockCountOf, isGeometry } from '../../common/geometry.ts';
import {
  MISSING_RANGES_MAX,
  PROTOCOL_VERSION,
  UNREADABLE_AREAS_MAX,
  type Claim,
  type SourceDescription,
  type TargetDescription,
  type TransferStatus,
} from '../../common/protocol/protocol.ts';
import { parseRanges } from '../../common/ranges.ts';
import {
  badResponse,
  countIn,
  isCount,
  memberOf,
  objectOf,
  readBackIn,
  shortened,
  textOrNull,
  textsIn,
} from './response-fields.ts';

function describedIn(members: Record<string, unknown>, name: string): SourceDescription {
  const { description, path, model, serial } = members;
  if (typeof description !== 'string' || typeof path !== 'string') {
    throw badResponse(`no description of the ${name}`);
  }
  return {
    description: shortened(description),
    path: shortened(path),
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

/** Only compared: invalid marks match nothing. */
function marksIn(value: unknown): DiskMarks {
  const { itself, within } = memberOf(value ?? NO_MARKS, 'marks of the target');
  return { itself: textsIn(itself), within: textsIn(within) };
}

type StatusGeometry = Pick<TransferStatus, 'size' | 'blockSize' | 'blockCount' | 'sizeMax'>;

function geometryIn({ state, size, blockSize, sizeMax }: Record<string, unknown>): StatusGeometry {
  if (state === 'unclaimed') return { size: null, blockSize: null, blockCount: null, sizeMax: null };
  if (size === null) {
    if (!isCount(sizeMax) || !isCount(blockSize)) throw badResponse('no size');
    if (!isGeometry({ sizeBytes: sizeMax, blockSizeBytes: blockSize })) throw badResponse('no size');
    return { size, blockSize, blockCount: null, sizeMax };
  }
  if (!isCount(size) || !isCount(blockSize)) throw badResponse('no size');
  const geometry = { sizeBytes: size, blockSizeBytes: blockSize };
  if (!isGeometry(geometry)) throw badResponse('an impossible geometry');
  return { size, blockSize, blockCount: blockCountOf(geometry), sizeMax: null };
}

/** A receiver from before BLAKE3 was supported names no digests. */
function digestsIn(status: Record<string, unknown>): Pick<TransferStatus, 'digest' | 'digests'> {
  const { state, digest = 'sha-256' } = status;
  const digests = textsIn(status['digests'] ?? ['sha-256']);
  if (state === 'unclaimed') return { digest: null, digests };
  if (isDigestAlgorithm(digest)) return { digest, digests };
  if (typeof digest !== 'string') throw badResponse('no digest');
  throw new TransferError('transfer-mismatch', 'this transfer uses an unknown digest algorithm', {
    hint: 'install the same version of dd-transfer on both machines',
  });
}

function unreadableIn(
  status: Record<string, unknown>,
): Pick<TransferStatus, 'unreadable' | 'unreadableCount'> {
  const { size, sizeMax } = status;
  const sizeBytes = [size, sizeMax].find(isCount) ?? 0;
  const areas = parseAreas(status['unreadable'], sizeBytes, UNREADABLE_AREAS_MAX);
  if (areas === undefined) throw badResponse('no list of unreadable areas');
  return { unreadable: areas, unreadableCount: countIn(status, 'unreadableCount') };
}

type StatusHistory = Pick<
  TransferStatus,
  'different' | 'differentCount' | 'adopting' | 'generation' | 'resizable'
>;

/** A receiver of version 0.1 says none of it. */
function historyIn(status: Record<string, unknown>): StatusHistory {
  const { different = [], differentCount = 0, adopting = null, generation = 1, resizable = false } = status;
  const ranges = parseRanges(different, BLOCK_COUNT_MAX, MISSING_RANGES_MAX);
  if (ranges === undefined) throw badResponse('no list of different blocks');
  if (!isCount(differentCount) || !isCount(generation)) throw badResponse('no generation');
  const progress = adopting === null ? null : memberOf(adopting, 'adopting');
  return {
    different: ranges,
    differentCount,
    adopting: progress && { done: countIn(progress, 'done'), total: countIn(progress, 'total') },
    generation,
    resizable: resizable === true,
  };
}

/** Every member is checked before it is used: some of them are shown to people. */
export function parseTransferStatus({ body }: { body: Buffer }): TransferStatus {
  const status = objectOf(body);
  const { protocol, transferId, epoch, state, source, encodings, hasLeftOut } = status;
  if (protocol !== PROTOCOL_VERSION) {
    const version = typeof protocol === 'number' ? `version ${protocol}` : 'an unknown version';
    throw new TransferError(
      'transfer-mismatch',
      `the receiver speaks ${version} of the protocol, not ${PROTOCOL_VERSION}`,
      { hint: 'install the same version of dd-transfer on both machines' },
    );
  }
  if (typeof transferId !== 'string' || typeof epoch !== 'string')
    throw badResponse('no transferId or epoch');
  if (state !== 'unclaimed' && state !== 'open' && state !== 'sealed') throw badResponse('no state');
  const target = memberOf(status['target'], 'target');
  const blocks = memberOf(status['blocks'], 'counters');
  const limits = memberOf(status['limits'], 'limits');
  return {
    protocol,
    transferId,
    epoch,
    state,
    ...geometryIn(status),
    ...digestsIn(status),
    source: source === null ? null : describedIn(memberOf(source, 'source'), 'source'),
    target: targetIn(target),
    targetMarks: marksIn(status['targetMarks']),
    blocks: {
      absent: countIn(blocks, 'absent'),
      written: countIn(blocks, 'written'),
      durable: countIn(blocks, 'durable'),
      verified: countIn(blocks, 'verified'),
    },
    ...historyIn(status),
    ...unreadableIn(status),
    hasLeftOut: typeof hasLeftOut === 'boolean' ? hasLeftOut : null,
    readBack: readBackIn(status),
    limits: {
      connections: countIn(limits, 'connections'),
      zeroRanges: countIn(limits, 'zeroRanges'),
      listing: countIn(limits, 'listing'),
    },
    encodings: textsIn(encodings),
    // Of others they have to be sent.
    holdsDigests: status['holdsDigests'] === true,
  };
}

/** A claim without a size gets the size of an earlier claim, if there is one. */
function isSize(status: TransferStatus, claim: Claim): boolean {
  return claim.size === null || status.size === claim.size;
}

/** The status has to repeat the claim. */
export function parseClaimResponse(response: { body: Buffer }, claim: Claim): TransferStatus {
  const status = parseTransferStatus(response);
  const isSameCut = status.blockSize === claim.blockSize && status.digest === digestNameOf(claim);
  if (status.state === 'unclaimed' || !isSize(status, claim) || !isSameCut) {
    throw badResponse('not the claim that was sent');
  }
  return status;
}
