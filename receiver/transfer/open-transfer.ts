/** What the operations on a claimed transfer share: geometry, table of blocks, flushing, read-back, slabs. */
import { BLAKE3_HINT } from '../../common/digest/blake3.ts';
import { SlabPool } from '../../common/io/buffers.ts';
import type { Clock } from '../../common/clock.ts';
import { ZeroDigests, type BlockDigest } from '../../common/digest/digest.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { ENCODED_GROWTH_BYTES_MAX, type Claim, type SizedClaim } from '../../common/protocol/protocol.ts';
import type { BlockTable } from '../durability/block-table.ts';
import { digestNameOf, isStream } from '../../common/protocol/claim.ts';
import type { DurabilityEvents } from '../durability/durability-events.ts';
import { Durability } from '../durability/durability.ts';
import { TableRoot } from '../durability/table-root.ts';
import type { Journal } from '../journal/journal.ts';
import { Semaphore } from '../../common/semaphore.ts';
import { slabCountOf, type SharedMemory } from './memory-budget.ts';
import { digestNamed } from './refusals.ts';
import { RangeLocks } from '../durability/range-locks.ts';
import type { Target } from '../target/target.ts';
import { Verifier, type VerifierEvents } from '../durability/verify-blocks.ts';

/** The transfer was begun with BLAKE3, and the package is gone. */
const MISSING_HINT = `${BLAKE3_HINT}; or start over with --discard-transfer`;

/** Exists once the transfer is claimed. */
export interface OpenTransfer {
  readonly claim: Claim;
  /** Of its blocks. */
  readonly digest: BlockDigest;
  /** All that this receiver can compute. */
  readonly digests: readonly BlockDigest[];
  /** While the claim has no size this has the largest possible one; only {@link fixSize} changes it. */
  readonly geometry: Geometry;
  readonly blockCount: number;
  readonly table: BlockTable;
  readonly root: TableRoot;
  readonly durability: Durability;
  /** undefined with `--verify none`. */
  readonly verifier: Verifier | undefined;
  readonly locks: RangeLocks;
  readonly slabs: SlabPool;
  /** Blocks that are read for clients at once: those of all transfers hold up to half of the memory. */
  readonly readTurns: Semaphore;
  /** Listings are made by one request at a time, some of it in each turn. */
  readonly listingTurns: Semaphore;
  /** The same for zeros, which may touch many blocks at once. */
  readonly zeroTurns: Semaphore;
  readonly zeroDigests: ZeroDigests;
  /** The file target may be longer than the source. */
  isCutPending: boolean;
  /** How often a claim of another size has had blocks forgotten. */
  resizeCount: number;
  /** In memory only. The caller has checked that no block past the claim's size is present. */
  fixSize(claim: SizedClaim): void;
}

export interface OpenTransferOptions {
  readonly target: Target;
  readonly journal: Journal;
  readonly memoryBytes: number;
  /** Of the transfers that this process serves; undefined: there is only this one. */
  readonly sharedMemory?: SharedMemory | undefined;
  readonly isReadBack: boolean;
  readonly clock: Clock;
  readonly digests: readonly BlockDigest[];
  readonly events: DurabilityEvents & VerifierEvents;
  readonly isSealed: () => boolean;
}

/** @param sizeBytesMax of a source whose size was not known at the first claim. */
export function geometryOf(claim: Claim, sizeBytesMax: number | undefined): Geometry {
  return { sizeBytes: claim.size ?? Number(sizeBytesMax), blockSizeBytes: claim.blockSize };
}

/**
 * Wires up the parts.
 * @param sizeBytesMax of a source whose size was not known at the first claim.
 * @param previous of the same transfer with another size: `record` makes that durable, when all else is done.
 * @throws TransferError `digest-unsupported`.
 */
export function openClaimed(
  options: OpenTransferOptions,
  claim: Claim,
  sizeBytesMax: number | undefined,
  table: BlockTable,
  previous?: { readonly durability: Durability; readonly record: () => void },
): OpenTransfer {
  const geometry = { ...geometryOf(claim, sizeBytesMax) };
  const { target, journal, events, clock, digests, memoryBytes, sharedMemory, isReadBack } = options;
  const digest = digestNamed(digestNameOf(claim), digests, MISSING_HINT);
  const slabSizeBytes = claim.blockSize + ENCODED_GROWTH_BYTES_MAX;
  const slabCount = slabCountOf(memoryBytes, slabSizeBytes);
  const locks = new RangeLocks();
  const zeroDigests = new ZeroDigests(geometry, digest);
  const verifier = isReadBack
    ? new Verifier({
        target,
        journal,
        table,
        locks,
        geometry,
        clock,
        zeroDigests,
        events,
        digest: digest.of,
        isSealed: options.isSealed,
      })
    : undefined;
  const flushing = { ...events, onDurable: () => verifier?.noteDurable() };
  const { arena, transferCount } = sharedMemory ?? { transferCount: 1 };
  const slabs = new SlabPool({ slabSizeBytes, slabCount, arena });
  target.store?.follow({
    geometry,
    digestOf: (index) => table.digestOf(index),
    zeroDigestOf: (index) => zeroDigests.of(index),
  });
  const durability =
    previous?.durability ?? new Durability({ target, journal, table, clock, events: flushing });
  previous?.record();
  previous?.durability.continueWith(table, flushing);
  let current = claim;
  return {
    get claim() {
      return current;
    },
    digest,
    digests,
    geometry,
    get blockCount() {
      return table.blockCount;
    },
    table,
    root: new TableRoot(table),
    durability,
    verifier,
    locks,
    slabs,
    listingTurns: new Semaphore(1),
    zeroTurns: new Semaphore(1),
    readTurns: new Semaphore(Math.max(1, Math.floor(slabCount / 2 / transferCount))),
    zeroDigests,
    isCutPending: mayBeTooLong(target, claim, sizeBytesMax),
    resizeCount: 0,
    fixSize(fixed) {
      geometry.sizeBytes = fixed.size;
      table.shrinkTo(blockCountOf(geometry));
      current = fixed;
    },
  };
}

/** A file grows to the largest possible size when a pipe claims it. */
function mayBeTooLong(target: Target, claim: Claim, sizeBytesMax: number | undefined): boolean {
  return isStream(claim) && sizeBytesMax !== undefined && !target.isSizeFixed;
}
