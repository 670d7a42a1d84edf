/** Whether what has happened explains how a run of the sender ended. */
import { REOPENED } from '../../receiver/transfer/receipts.ts';
import { areasWithin, bytesOf, type Area } from '../../common/areas.ts';
import type { TransferError, ErrorCode } from '../../common/errors.ts';
import type { Comparison } from '../../sender/transfer/comparison.ts';
import type { Stamps } from './contents.ts';
import { LIES, type Fault } from './faults.ts';
import type { SendResult, SimSender } from './sim-sender.ts';
import { faultOfSealedPipe, isOfPipe } from './pipe-verdict.ts';
import type { World } from './world.ts';

/** Retries may wait for a minute, a silent connection for ten; after that a fault has no effect any more. */
export const AFTERMATH_MS = 1_200_000;

/** What must have happened before blocks are missing at the end. */
const MISSING: readonly Fault[] = [
  'readBackEio',
  'readBackFlip',
  'receiverKill',
  'powerCut',
  'commitBroken',
  'commitDeath',
  'foreignWrite',
  ...LIES,
];

/** What must have happened before the sender may end with each code. */
const CAUSES: Partial<Record<ErrorCode, readonly Fault[]>> = {
  'io-error': [
    'writeEio',
    'flushEio',
    'receiverKill',
    'receiverStop',
    'powerCut',
    'commitBroken',
    'commitDeath',
  ],
  'verify-failed': ['readBackEio', 'readBackFlip', 'foreignWrite', ...LIES],
  'foreign-writes': ['foreignWrite'],
  incomplete: MISSING,
  'digest-mismatch': ['lineCorrupt'],
  'journal-error': ['commitBroken', 'commitDeath'],
  'source-read': ['sourceEio'],
  // The last: a block that arrived twice counts as durable with its first write, and the second is lost.
  'source-spent': [...MISSING, 'writeEio', 'writeFull', 'flushEio', 'receiverStop', 'backgroundLoss'],
  'source-changed': ['sourceShort', 'sourceChange', 'sourceBad'],
  interrupted: ['senderInterrupt'],
};

/** @returns what is wrong with this failure; undefined if it is right. */
export function faultOfFailure(world: World, sender: SimSender, error: TransferError): string | undefined {
  const { faults, profile, scheduler } = world;
  const end = `the sender failed with ${error.code} (${error.message})`;
  const quietMs = scheduler.nowMs - world.lastFaultMs;
  switch (error.code) {
    case 'no-progress':
      if (quietMs > profile.retryForMs + AFTERMATH_MS) return `${end} long after the last fault`;
      return undefined;
    case 'source-size':
    case 'source-refused':
    case 'target-too-small':
    case 'transfer-mismatch':
      return isOfPipe(world, sender, error.code) ? undefined : `${end} and the size is right`;
    case 'root-mismatch':
    case 'sealed':
      return isSourceChanged(world) ? undefined : end;
    default:
  }
  const causes = CAUSES[error.code];
  if (causes === undefined || faults.hitsOf(...causes) === 0) return `${end} without a cause`;
  if (quietMs > AFTERMATH_MS) return `${end} long after the last fault`;
  const isRepeated = /none became durable/.test(error.message);
  if (isRepeated && world.epochEnds - sender.epochEndsBefore < 5) return `${end} after too few epochs`;
  if (error.code === 'verify-failed') return faultOfVerification(world, error, end);
  return undefined;
}

/** A disk that lies: the blocks are named. */
function faultOfVerification(world: World, error: TransferError, end: string): string | undefined {
  const { blocks } = error.details;
  if (!Array.isArray(blocks) || blocks.length === 0) return `${end} and names no block`;
  // What has changed since an earlier receiver wrote it counts like what reads back wrong.
  const times = world.mismatches + world.changes;
  return times < 3 && world.faults.hitsOf('foreignWrite') === 0 ? `${end} after ${times} times` : undefined;
}

/** Exit 0 is a proof: everything that was read is on the medium, and the receiver reports it. */
export function faultOfSuccess(world: World, sender: SimSender, result: SendResult): string | undefined {
  if (result.outcome === 'differs') return faultOfDifference(world, result.comparison);
  if (result.outcome !== 'sealed') return 'the sender left the transfer open';
  const { seal, facts } = result;
  const { journal, contents, disk, profile } = world;
  const { counters } = facts;
  if (!journal.isSealed) return 'the sender succeeded and nothing is sealed';
  if (seal.verified !== (profile.isReadBack ? 'read-back' : 'none')) return `sealed as ${seal.verified}`;
  if (counters.durable !== counters.total || counters.read !== counters.total) {
    return `it succeeded with ${counters.durable} durable, ${counters.read} read of ${counters.total}`;
  }
  const { sent, copied, skipped, zero } = counters;
  if (sent + copied + skipped + zero !== counters.total) {
    return `${sent} sent, ${copied} copied, ${skipped} there, ${zero} zero of ${counters.total}`;
  }
  const { pipe } = sender;
  const wrong = pipe && faultOfSealedPipe(world, pipe, seal);
  if (wrong !== undefined) return wrong;
  const blockCount = pipe === undefined ? contents.blockCount : counters.total;
  for (let block = 0; block < blockCount; block++) {
    const version = sender.versionsRead.get(block);
    if (version === undefined) return `the sender succeeded and has not read block ${block}`;
    const stamps =
      pipe?.stampsOf(block) ?? wantedOf(world, sender, { block, version, unreadable: seal.unreadable });
    if (stamps === undefined) return `the receipt is wrong about whether block ${block} was read`;
    const isThere = profile.isReadBack ? disk.isAsReadBack(block, stamps) : disk.holds(block, stamps);
    if (!isThere) return `the sender succeeded and block ${block} differs`;
  }
  return undefined;
}

function isSourceChanged({ profile, faults }: World): boolean {
  const ended = profile.pipe === undefined ? 0 : faults.hitsOf('sourceShort');
  return profile.isSourceChanging || faults.hitsOf('sourceChange', 'sourceBad') + ended > 0;
}

/** A sealed transfer was compared, and the world is what differs. */
function faultOfDifference(world: World, { source, target }: Comparison): string | undefined {
  const { faults, profile, journal } = world;
  // Opened again for areas that can be read by now, it still takes no other block that has changed.
  const isKept = journal.isSealed || journal.properties.has(REOPENED);
  if (!isKept) return 'the sender only compared, and nothing is sealed';
  if (source.count > 0 && !isSourceChanged(world))
    return `${source.count} blocks of the source differ without a cause`;
  const isTargetChanged =
    profile.isLying || faults.hitsOf('readBackEio', 'readBackFlip', 'foreignWrite', ...LIES) > 0;
  if ((target?.count ?? 0) > 0 && !isTargetChanged) return 'blocks of the target differ without a cause';
  return source.count + (target?.count ?? 0) > 0 ? undefined : 'nothing differs';
}

/**
 * What the target should have: what was read; zeros if it was unreadable; or what an earlier run has read.
 * @returns undefined if the receipt is wrong about it.
 */
function wantedOf(
  world: World,
  sender: SimSender,
  { block, version, unreadable }: { block: number; version: number; unreadable: readonly Area[] },
): Stamps | undefined {
  const { contents, journal, source, profile, faults } = world;
  const lengthBytes = contents.lengthOf(block);
  const listed = areasWithin(unreadable, block * contents.blockSizeBytes, lengthBytes);
  if (listed.length > 0) {
    const isRight = source.unreadable.has(block) && bytesOf(listed) === lengthBytes;
    return isRight ? contents.of(block, 0) : undefined;
  }
  if (!sender.source.unreadable.has(block)) return contents.of(block, version);
  // From an earlier run; zeros without one would be listed.
  const stamps = journal.blocks.get(block)?.stamps;
  const isSteady = !profile.isSourceChanging && faults.hitsOf('sourceChange') === 0;
  const isZero = stamps?.every((stamp) => stamp === 0) === true;
  const isLost = isSteady && isZero && source.versions[block] !== 0;
  return isLost ? undefined : stamps;
}

/** When there is no request, nothing is held. */
export function faultOfIdle({ receiver }: World): string | undefined {
  const open = receiver?.transfer?.opened;
  if (open === undefined || receiver?.isListening !== true || receiver.answering > 0) return undefined;
  const { slabs } = open;
  return slabs.freeCount === slabs.slabCount
    ? undefined
    : `${slabs.slabCount - slabs.freeCount} slabs are not given back`;
}
