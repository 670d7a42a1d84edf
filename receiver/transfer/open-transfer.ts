/** What the operations of a claimed transfer share: geometry, table of blocks, who writes and who reads. */
import { BLAKE3_HINT } from '../../common/digest/blake3.ts';
import { SlabPool } from '../../common/io/buffers.ts';
import type { Clock } from '../../common/clock.ts';
import { ZeroDigests, digestIn, type BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { ENCODED_GROWTH_BYTES_MAX, type Claim, type SizedClaim } from '../../common/protocol/protocol.ts';
import type { BlockTable } from '../durability/block-table.ts';
import { digestNameOf, isStream } from '../../common/protocol/claim.ts';
import type { DurabilityEvents } from '../durability/durability-events.ts';
import { Durability } from '../durability/durability.ts';
import { tableOf } from '../durability/journalled-table.ts';
import type { Journal } from '../journal/journal.ts';
import { slabCountOf } from './memory-budget.ts';
import { RangeLocks } from '../durability/range-locks.ts';
import type { Target } from '../target/target.ts';
import { Verifier, type VerifierEvents } from '../durability/verify-blocks.ts';

/** Of a transfer that goes on where the package is gone. */
const MISSING_HINT = `${BLAKE3_HINT}; without it --discard-transfer begins anew`;

/** What exists once a transfer is claimed. */
export interface OpenTransfer {
  readonly claim: Claim;
  /** That of its blocks. */
  readonly digest: BlockDigest;
  /** All that can be computed here. */
  readonly digests: readonly BlockDigest[];
  /** Its size is the most that is possible until the claim has one; only {@link fixSize} changes it. */
  readonly geometry: Geometry;
  readonly blockCount: number;
  readonly table: BlockTable;
  readonly durability: Durability;
  /** undefined with `--verify none`. */
  readonly verifier: Verifier | undefined;
  readonly locks: RangeLocks;
  readonly slabs: SlabPool;
  readonly zeroDigests: ZeroDigests;
  /** A file target may still be longer than the source. */
  isCutPending: boolean;
  /** In memory; nothing that is there lies behind the claim's size. */
  fixSize(claim: SizedClaim): void;
}

export interface OpenTransferOptions {
  readonly target: Target;
  readonly journal: Journal;
  readonly memoryBytes: number;
  readonly isReadBack: boolean;
  readonly clock: Clock;
  readonly digests: readonly BlockDigest[];
  readonly events: DurabilityEvents & VerifierEvents;
}

/**
 * Reads the table of blocks from the journal and puts the parts together.
 * @param sizeMax of a source whose size was not known at the first claim.
 * @throws TransferError `digest-unsupported`, `state-refused`.
 */
export function openClaimed(
  options: OpenTransferOptions,
  claim: Claim,
  sizeMax: string | undefined,
): OpenTransfer {
  const geometry = { sizeBytes: claim.size ?? Number(sizeMax), blockSizeBytes: claim.blockSize };
  const table = tableOf(options.journal, blockCountOf(geometry));
  const { target, journal, events, clock, digests, memoryBytes, isReadBack } = options;
  const digest = digestNamed(digestNameOf(claim), digests, MISSING_HINT);
  const slabSizeBytes = claim.blockSize + ENCODED_GROWTH_BYTES_MAX;
  const locks = new RangeLocks();
  const zeroDigests = new ZeroDigests(geometry, digest);
  const verifier = isReadBack
    ? new Verifier({ target, journal, table, locks, geometry, clock, digest: digest.of, zeroDigests, events })
    : undefined;
  const durability = new Durability({
    target,
    journal,
    table,
    clock,
    events: { ...events, onDurable: () => verifier?.wake() },
  });
  let present = claim;
  return {
    get claim() {
      return present;
    },
    digest,
    digests,
    geometry,
    get blockCount() {
      return table.blockCount;
    },
    table,
    durability,
    verifier,
    locks,
    slabs: new SlabPool({ slabSizeBytes, slabCount: slabCountOf(memoryBytes, slabSizeBytes) }),
    zeroDigests,
    isCutPending: mayBeTooLong(target, claim, sizeMax),
    fixSize(fixed) {
      geometry.sizeBytes = fixed.size;
      table.shrinkTo(blockCountOf(geometry));
      present = fixed;
    },
  };
}

/** Whether a target that grew for a pipe may be longer than its source. */
function mayBeTooLong(target: Target, claim: Claim, sizeMax: string | undefined): boolean {
  return isStream(claim) && sizeMax !== undefined && !target.isSizeFixed;
}

/**
 * What the blocks of a transfer are hashed with. @param hint what to do where that can't be computed here.
 * @throws TransferError `digest-unsupported`.
 */
export function digestNamed(name: string, digests: readonly BlockDigest[], hint: string): BlockDigest {
  const digest = digestIn(digests, name);
  if (digest === undefined) throw digestUnsupported(name, digests, hint);
  return digest;
}

export function digestUnsupported(
  name: string,
  digests: readonly BlockDigest[],
  hint: string,
): TransferError {
  const known = digests.map(({ algorithm }) => algorithm).join(' and ');
  const message = `this receiver can compute ${known} digests, not ${name.slice(0, 20)}`;
  return new TransferError('digest-unsupported', message, { hint });
}
