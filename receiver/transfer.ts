/**
 * One target, one journal, one transfer: opens or resumes it, claims it, and holds what the operations share.
 * The claim fixes the geometry; before it there is no table of blocks and nothing can be written.
 */
import { randomUUID } from 'node:crypto';
import { SlabPool } from '../common/buffers.ts';
import { ZeroDigests, type DigestBlock } from '../common/digest.ts';
import type { Clock } from '../common/clock.ts';
import { NO_MARKS, marksOf, type DiskMarks, type DiskPlaces } from '../common/disk-places.ts';
import { TransferError } from '../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX, blockCountOf, isGeometry, type Geometry } from '../common/geometry.ts';
import {
  ENCODED_GROWTH_BYTES_MAX,
  LISTING_COUNT_MAX,
  PROTOCOL_VERSION,
  ZERO_RANGES_MAX,
  type Claim,
  type TransferStatus,
} from '../common/protocol.ts';
import { BlockTable } from './block-table.ts';
import { claimDifference, hintFor } from '../common/claim.ts';
import { Durability, type DurabilityEvents } from './durability.ts';
import type { Journal } from './journal.ts';
import { RangeLocks } from './range-locks.ts';
import { describeTarget, recordOf, recordedContent } from './target-record.ts';
import type { Target } from './target.ts';
import { Verifier, type VerifierEvents } from './verify-blocks.ts';

/** What exists once a transfer is claimed. */
export interface OpenTransfer {
  readonly claim: Claim;
  readonly geometry: Geometry;
  readonly blockCount: number;
  readonly table: BlockTable;
  readonly durability: Durability;
  /** undefined with `--verify none`. */
  readonly verifier: Verifier | undefined;
  readonly locks: RangeLocks;
  readonly slabs: SlabPool;
  readonly zeroDigests: ZeroDigests;
}

/** A sealed transfer's receipt: the exact bytes that were signed, and the armored signature. */
export interface SealedReceipt {
  readonly json: string;
  readonly signature: string;
}

export interface TransferOptions {
  readonly target: Target;
  readonly journal: Journal;
  /** What is on the target; recorded when the transfer begins. */
  readonly content?: readonly string[];
  readonly places?: DiskPlaces;
  readonly memoryBytes: number;
  readonly connectionsMax: number;
  readonly isReadBack: boolean;
  readonly clock: Clock;
  readonly digest: DigestBlock;
  readonly events: DurabilityEvents & VerifierEvents;
}

export class Transfer {
  readonly id: string;
  readonly target: Target;
  readonly journal: Journal;
  readonly #options: TransferOptions;
  readonly #idleEpoch = randomUUID();
  #open: OpenTransfer | undefined;
  #sealed: SealedReceipt | undefined;
  readonly #content: readonly string[];
  readonly #marks: DiskMarks;
  #claiming: Promise<unknown> = Promise.resolve();

  constructor(options: TransferOptions) {
    this.#options = options;
    this.target = options.target;
    this.journal = options.journal;
    this.id = this.journal.property('transferId') ?? randomUUID();
    if (this.journal.property('transferId') === undefined) {
      this.journal.setProperties({
        transferId: this.id,
        ...recordOf(this.target.identity, options.content ?? []),
      });
    }
    this.#content = recordedContent(this.journal);
    this.#marks = options.places === undefined ? NO_MARKS : marksOf(options.places, this.id);
    const claim = this.journal.property('claim');
    if (claim !== undefined) this.#open = this.#build(JSON.parse(claim) as Claim);
    const json = this.journal.property('receipt');
    const signature = this.journal.property('receiptSignature');
    if (json !== undefined && signature !== undefined) this.#sealed = { json, signature };
  }

  get epoch(): string {
    return this.#open?.durability.epoch ?? this.#idleEpoch;
  }

  get durableGeneration(): number {
    return this.#open?.durability.durableGeneration ?? 0;
  }

  get sealed(): SealedReceipt | undefined {
    return this.#sealed;
  }

  get opened(): OpenTransfer | undefined {
    return this.#open;
  }

  /** @throws TransferError `not-claimed`. */
  claimed(): OpenTransfer {
    if (this.#open !== undefined) return this.#open;
    throw new TransferError('not-claimed', 'no source has claimed this transfer yet', {
      hint: 'PUT /transfer with {"size":…,"blockSize":…,"source":{…}}, as ddt-send does',
    });
  }

  /** Blocks read back and equal so far. */
  get verifiedCount(): number {
    return this.#open?.table.countOf('verified') ?? 0;
  }

  /** Reads back what is durable; not before it is known that this is the right disk. */
  startVerifying(): void {
    if (this.#sealed === undefined) this.#open?.verifier?.wake();
  }

  /** For operations that write. @throws TransferError `not-claimed`, `sealed`. */
  writable(): OpenTransfer {
    if (this.#sealed !== undefined) {
      throw new TransferError('sealed', 'this transfer is complete and sealed: nothing is written any more');
    }
    return this.claimed();
  }

  /**
   * Binds the transfer to a source. The same claim again changes nothing.
   * @returns whether it was new. @throws TransferError `transfer-mismatch`, `target-too-small`,
   * `bad-request`, …
   */
  async claim(claim: Claim): Promise<'new' | 'same'> {
    // One at a time, so that two senders can't both be the first.
    const turn = this.#claiming.then(async () => await this.#claimNow(claim));
    this.#claiming = turn.catch(() => {});
    return await turn;
  }

  async #claimNow(claim: Claim): Promise<'new' | 'same'> {
    if (this.#open !== undefined) {
      const difference = claimDifference(this.#open.claim, claim);
      if (difference === undefined) return 'same';
      throw new TransferError('transfer-mismatch', `this target belongs to another transfer: ${difference}`, {
        hint: hintFor(this.#open.claim, claim),
      });
    }
    const geometry: Geometry = { sizeBytes: claim.size, blockSizeBytes: claim.blockSize };
    if (!isGeometry(geometry)) {
      throw new TransferError(
        'bad-request',
        `size ${claim.size} in blocks of ${claim.blockSize} bytes is not possible`,
      );
    }
    await this.target.prepare(claim.size);
    const open = this.#build(claim);
    this.journal.setProperties({ claim: JSON.stringify(claim) });
    this.#open = open;
    return 'new';
  }

  /** Ends the transfer: durably recorded, then nothing is written any more. */
  seal(receipt: SealedReceipt): void {
    this.journal.setProperties({ receipt: receipt.json, receiptSignature: receipt.signature });
    this.#sealed = receipt;
  }

  status(): TransferStatus {
    const open = this.#open;
    const count = (state: 'absent' | 'written' | 'durable' | 'verified'): number =>
      open?.table.countOf(state) ?? 0;
    return {
      protocol: PROTOCOL_VERSION,
      transferId: this.id,
      epoch: this.epoch,
      state: this.#sealed !== undefined ? 'sealed' : open === undefined ? 'unclaimed' : 'open',
      size: open?.claim.size ?? null,
      blockSize: open?.claim.blockSize ?? null,
      blockCount: open?.blockCount ?? null,
      source: open?.claim.source ?? null,
      target: describeTarget(this.target.identity, this.#content),
      targetMarks: this.#marks,
      blocks: {
        absent: count('absent'),
        written: count('written'),
        durable: count('durable'),
        verified: count('verified'),
      },
      limits: {
        connections: this.#options.connectionsMax,
        zeroRanges: ZERO_RANGES_MAX,
        listing: LISTING_COUNT_MAX,
      },
      encodings: ['zstd', 'gzip'],
    };
  }

  #build(claim: Claim): OpenTransfer {
    const geometry: Geometry = { sizeBytes: claim.size, blockSizeBytes: claim.blockSize };
    const blockCount = blockCountOf(geometry);
    const table = new BlockTable(blockCount);
    for (const { index, digest, isVerified } of this.journal.blocks()) {
      if (index < blockCount) table.set(index, isVerified ? 'verified' : 'durable', digest);
    }
    const { target, journal } = this;
    const { events, clock, digest, memoryBytes, isReadBack } = this.#options;
    const slabSizeBytes = claim.blockSize + ENCODED_GROWTH_BYTES_MAX;
    const locks = new RangeLocks();
    const zeroDigests = new ZeroDigests(geometry);
    const verifier = isReadBack
      ? new Verifier({ target, journal, table, locks, geometry, clock, digest, zeroDigests, events })
      : undefined;
    const durability = new Durability({
      target,
      journal,
      table,
      clock,
      events: { ...events, onDurable: () => verifier?.wake() },
    });
    return {
      claim,
      geometry,
      blockCount,
      table,
      durability,
      verifier,
      locks,
      slabs: new SlabPool({ slabSizeBytes, slabCount: slabCountOf(memoryBytes, slabSizeBytes) }),
      zeroDigests,
    };
  }
}

/** Two slabs at least, or one client could hold up every other. */
const SLAB_COUNT_MIN = 2;
/** The least useful `--memory`: two slabs of the largest block. */
export const MEMORY_BYTES_MIN = SLAB_COUNT_MIN * 2 * BLOCK_SIZE_BYTES_MAX;

function slabCountOf(memoryBytes: number, slabSizeBytes: number): number {
  return Math.max(SLAB_COUNT_MIN, Math.floor(memoryBytes / slabSizeBytes));
}
