/**
 * The state of one transfer: one target, one journal, and, once it is claimed, a table of blocks. The
 * operations on it are functions of their own: claim.ts, write-block.ts, seal.ts, reopen.ts.
 */
import { randomUUID } from 'node:crypto';
import type { Area } from '../../common/areas.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import type { Clock } from '../../common/clock.ts';
import { NO_MARKS, marksOf, type DiskMarks, type DiskPlaces } from '../../common/disk/disk-places.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf } from '../../common/geometry.ts';
import {
  LISTING_COUNT_MAX,
  MISSING_RANGES_MAX,
  PROTOCOL_VERSION,
  ZERO_RANGES_MAX,
  type Claim,
  type TransferStatus,
} from '../../common/protocol/protocol.ts';
import { Semaphore } from '../../common/semaphore.ts';
import type { BlockTable } from '../durability/block-table.ts';
import type { DurabilityEvents } from '../durability/durability-events.ts';
import { tableOf } from '../durability/journalled-table.ts';
import type { Journal } from '../journal/journal.ts';
import type { Adoption, AdoptionEvents } from './adopt.ts';
import { geometryOf, openClaimed, type OpenTransfer, type OpenTransferOptions } from './open-transfer.ts';
import { recordedClaim } from './journal-objects.ts';
import type { SharedMemory } from './memory-budget.ts';
import { describeTarget, recordOf, recordedContent } from './target-record.ts';
import type { Target } from '../target/target.ts';
import { listUnreadable } from './reopen.ts';
import { REOPENED, earlierReceiptsIn, withdrawReceipt, type EarlierReceipt } from './receipts.ts';
import type { VerifierEvents } from '../durability/verify-blocks.ts';

/** Property of the journal. */
export const LEFT_OUT = 'hasLeftOut';

export type { OpenTransfer } from './open-transfer.ts';

/** Reading a whole disk takes minutes at least: asking more often would gain nothing. */
const ADOPTION_RETRY_SECONDS = 5;

/** Receipt of a sealed transfer: the exact bytes that were signed, and the armored signature. */
export interface SealedReceipt {
  readonly json: string;
  readonly signature: string;
}

export interface TransferProgress {
  /** null: the size is not known yet. */
  readonly sizeBytes: number | null;
  readonly durableBytes: number;
  /** null: blocks are not read back. */
  readonly verifiedBytes: number | null;
}

export interface TransferOptions {
  readonly target: Target;
  readonly journal: Journal;
  /** What the target holds; recorded when the transfer is made. */
  readonly content?: readonly string[];
  readonly places?: DiskPlaces;
  readonly memoryBytes: number;
  readonly sharedMemory?: SharedMemory | undefined;
  readonly connectionsMax: number;
  readonly isReadBack: boolean;
  readonly clock: Clock;
  readonly digests: readonly BlockDigest[];
  readonly events: TransferEvents;
}

export interface TransferEvents extends DurabilityEvents, VerifierEvents, AdoptionEvents {
  onJournalBroken(error: TransferError): void;
}

export class Transfer {
  readonly id: string;
  readonly target: Target;
  readonly journal: Journal;
  /** Claims take turns: only for `claim.ts`. */
  readonly claimTurns = new Semaphore(1);
  readonly events: TransferEvents;
  /** While the content of the target is being adopted: only for `adopt.ts`. */
  adoption: Adoption | undefined;
  readonly #options: OpenTransferOptions & Pick<TransferOptions, 'connectionsMax'>;
  readonly #idleEpoch = randomUUID();
  #open: OpenTransfer | undefined;
  #sealed: SealedReceipt | undefined;
  #reopened: ReadonlyMap<number, readonly Area[]> | undefined;
  /** Everything is being read once more, to give the receipt a new date. */
  #doubtsAtSeal = 0;
  readonly #content: readonly string[];
  readonly #marks: DiskMarks;

  constructor(options: TransferOptions) {
    this.#options = {
      ...options,
      isSealed: () => this.#sealed !== undefined || this.#reopened !== undefined,
    };
    this.events = options.events;
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
    const claim = recordedClaim(this.journal);
    if (claim !== undefined) {
      const sizeMax = this.journal.property('sizeMax');
      const sizeBytesMax = sizeMax === undefined ? undefined : Number(sizeMax);
      this.#open = this.#openFor(claim, sizeBytesMax);
    }
    const json = this.journal.property('receipt');
    const signature = this.journal.property('receiptSignature');
    if (json !== undefined && signature !== undefined) this.#sealed = { json, signature };
    const reopened = this.journal.property(REOPENED);
    if (reopened !== undefined && this.#sealed === undefined)
      this.#reopened = new Map(JSON.parse(reopened) as []);
  }

  get epoch(): string {
    return this.#open?.durability.epoch ?? this.#idleEpoch;
  }

  get durableGeneration(): number {
    return this.#open?.durability.durableGeneration ?? 0;
  }

  /**
   * Of a transfer that was sealed and opened again for its unreadable areas: the blocks that have any, and
   * which. Nothing else of it may change.
   */
  get reopened(): ReadonlyMap<number, readonly Area[]> | undefined {
    return this.#reopened;
  }

  get sealed(): SealedReceipt | undefined {
    return this.#sealed;
  }

  /** Digests that this receiver can compute. */
  get digests(): readonly BlockDigest[] {
    return this.#options.digests;
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

  /** Blocks that were read back and are equal. */
  get verifiedCount(): number {
    return this.#open?.table.countOf('verified') ?? 0;
  }

  /** How much of the source is on the target; undefined before the claim. */
  progress(): TransferProgress | undefined {
    if (this.#open === undefined) return undefined;
    const { table, geometry, verifier, claim } = this.#open;
    const bytesOf = (blockCount: number): number =>
      Math.min(blockCount * geometry.blockSizeBytes, geometry.sizeBytes);
    const verifiedCount = table.countOf('verified');
    return {
      sizeBytes: claim.size,
      durableBytes: bytesOf(table.countOf('durable') + verifiedCount),
      verifiedBytes: verifier === undefined ? null : bytesOf(verifiedCount),
    };
  }

  /** Starts reading durable blocks back; call it only once the target is known to be the right disk. */
  startVerifying(): void {
    if (this.#sealed === undefined) this.#open?.verifier?.wake();
  }

  /** Like {@link claimed}. @throws TransferError `busy` while the content of the target is being adopted. */
  adopted(): OpenTransfer {
    const adopting = this.adoption?.progress;
    if (adopting === undefined) return this.claimed();
    throw new TransferError(
      'busy',
      `the target is still being read: ${adopting.done} of ${adopting.total} blocks`,
      { retryAfterSeconds: ADOPTION_RETRY_SECONDS },
    );
  }

  /** For operations that write. @throws TransferError `not-claimed`, `sealed`. */
  writable(): OpenTransfer {
    if (this.#sealed !== undefined) {
      throw new TransferError('sealed', 'this transfer is complete and sealed: no block can be written');
    }
    return this.adopted();
  }

  /**
   * Opens the transfer for its first claim, durably recorded: only for `claim.ts`.
   * @param sizeBytesMax of a source whose size is not known yet.
   */
  begin(claim: Claim, sizeBytesMax?: number): void {
    const open = this.#openFor(claim, sizeBytesMax);
    const limit = sizeBytesMax === undefined ? {} : { sizeMax: String(sizeBytesMax) };
    this.journal.setProperties({ claim: JSON.stringify(claim), ...limit });
    this.#open = open;
  }

  /**
   * Starts reading everything back, verified or not: blocks verified after this call were read after it. A
   * sealed transfer gets a receipt with a new date when all blocks are equal.
   */
  readAgain(): void {
    this.#open?.verifier?.startOver();
  }

  /**
   * Whether a reading has begun since the date of the receipt: for a claim, or because a request that was
   * waiting while another one sealed has found writes of others.
   */
  get isReadAgain(): boolean {
    return this.#doubts !== this.#doubtsAtSeal;
  }

  get #doubts(): number {
    return this.#open?.verifier?.doubts ?? 0;
  }

  /** Earlier receipts of this transfer, the oldest first. */
  get earlierReceipts(): readonly EarlierReceipt[] {
    return earlierReceiptsIn(this.journal);
  }

  /** Generation of the present or next receipt: 1, and one more each time the transfer is opened again. */
  get generation(): number {
    return (this.earlierReceipts.at(-1)?.generation ?? 0) + 1;
  }

  /** Whether a claim before the seal has left areas of its source out. */
  get hasLeftOut(): boolean {
    return this.journal.property(LEFT_OUT) !== undefined;
  }

  /** Records, durably, that blocks may have zeros in the place of what was not read: only for `claim.ts`. */
  noteLeftOut(): void {
    if (!this.hasLeftOut) this.journal.setProperties({ [LEFT_OUT]: 'yes' });
  }

  /** Whether a claim may bring another size: after `--update`, until the next seal. */
  get isResizable(): boolean {
    return this.journal.property('update') !== undefined;
  }

  /** Seals the transfer, durably: from here on every write is refused. */
  seal(receipt: SealedReceipt): void {
    this.journal.setProperties({ receipt: receipt.json, receiptSignature: receipt.signature });
    if (this.isResizable) this.journal.removeProperties(['update']);
    if (this.#reopened !== undefined) this.journal.removeProperties([REOPENED]);
    this.#reopened = undefined;
    this.#sealed = receipt;
    this.#doubtsAtSeal = this.#doubts;
  }

  /** Withdraws the receipt, durably, in favor of the next generation: only for `reopen.ts`. */
  unseal(): void {
    const { table, verifier } = this.claimed();
    const blocks = [...table.unreadable.entries()];
    withdrawReceipt(this.journal, { [REOPENED]: JSON.stringify(blocks) });
    this.#reopened = new Map(blocks);
    this.#sealed = undefined;
    verifier?.wake();
  }

  #openFor(claim: Claim, sizeBytesMax: number | undefined): OpenTransfer {
    const table = tableOf(this.journal, blockCountOf(geometryOf(claim, sizeBytesMax)));
    return openClaimed(this.#options, claim, sizeBytesMax, table);
  }

  /**
   * Replaces the claim of an open transfer by one with another size: only for `update.ts`.
   * @param table of that size, from the journal.
   */
  reclaim(claim: Claim, table: BlockTable): OpenTransfer {
    const { durability } = this.claimed();
    const record = (): void => this.journal.setProperties({ claim: JSON.stringify(claim) });
    const open = openClaimed(this.#options, claim, undefined, table, { durability, record });
    this.#open = open;
    this.startVerifying();
    return open;
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
      blockCount: open === undefined || open.claim.size === null ? null : open.blockCount,
      sizeMax: open?.claim.size === null ? open.geometry.sizeBytes : null,
      digest: open?.digest.algorithm ?? null,
      digests: this.digests.map(({ algorithm }) => algorithm),
      source: open?.claim.source ?? null,
      target: describeTarget(this.target, this.#content),
      targetMarks: this.#marks,
      blocks: {
        absent: count('absent'),
        written: count('written'),
        durable: count('durable'),
        verified: count('verified'),
      },
      different: open?.table.different(MISSING_RANGES_MAX) ?? [],
      differentCount: open?.table.differentCount ?? 0,
      adopting: this.adoption?.progress ?? null,
      generation: this.generation,
      resizable: this.isResizable,
      ...listUnreadable(open?.table),
      hasLeftOut: this.hasLeftOut,
      readBack: count('verified') === 0 ? null : (open?.verifier?.method ?? null),
      limits: {
        connections: this.#options.connectionsMax,
        zeroRanges: ZERO_RANGES_MAX,
        listing: LISTING_COUNT_MAX,
      },
      encodings: ['zstd', 'gzip'],
      holdsDigests: this.target.store !== undefined,
    };
  }
}
