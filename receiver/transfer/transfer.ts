/**
 * One target, one journal, one transfer: opens or resumes it, claims it, and holds what the operations share.
 * The claim fixes the geometry; before it there is no table of blocks and nothing can be written.
 */
import { randomUUID } from 'node:crypto';
import type { BlockDigest } from '../../common/digest/digest.ts';
import type { Clock } from '../../common/clock.ts';
import { NO_MARKS, marksOf, type DiskMarks, type DiskPlaces } from '../../common/disk/disk-places.ts';
import { TransferError } from '../../common/errors.ts';
import { isGeometry, type Geometry } from '../../common/geometry.ts';
import {
  LISTING_COUNT_MAX,
  PROTOCOL_VERSION,
  ZERO_RANGES_MAX,
  type Claim,
  type TransferStatus,
} from '../../common/protocol/protocol.ts';
import type { DurabilityEvents } from '../durability/durability-events.ts';
import type { Journal } from '../journal/journal.ts';
import { checkTableFits, machineMemoryBytes } from './memory-budget.ts';
import { openClaimed, type OpenTransfer } from './open-transfer.ts';
import { describeTarget, recordOf, recordedContent } from './target-record.ts';
import type { Target } from '../target/target.ts';
import { claimAgain, prepareForAnySize } from './stream-size.ts';
import { listUnreadable } from './reopen.ts';
import type { VerifierEvents } from '../durability/verify-blocks.ts';

export type { OpenTransfer } from './open-transfer.ts';

/** `fixed`: the size of a source that was not known before. */
export type ClaimOutcome = 'new' | 'same' | 'fixed';

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
  readonly digests: readonly BlockDigest[];
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
    const sizeMax = this.journal.property('sizeMax');
    if (claim !== undefined) this.#open = openClaimed(options, JSON.parse(claim) as Claim, sizeMax);
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

  /** What the blocks of a transfer can be hashed with here. */
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
   * Binds the transfer to a source. The same claim again changes nothing; that of a pipe which has ended
   * brings its size.
   * @throws TransferError `transfer-mismatch`, `target-too-small`, `digest-unsupported`,
   * `bad-request`, …
   */
  async claim(claim: Claim): Promise<ClaimOutcome> {
    // One at a time, so that two senders can't both be the first.
    const turn = this.#claiming.then(async () => await this.#claimNow(claim));
    this.#claiming = turn.catch(() => {});
    return await turn;
  }

  async #claimNow(claim: Claim): Promise<ClaimOutcome> {
    if (this.#open !== undefined) return await claimAgain(this, this.#open, claim);
    const geometry: Geometry = { sizeBytes: claim.size ?? 0, blockSizeBytes: claim.blockSize };
    if (!isGeometry(geometry)) {
      throw new TransferError(
        'bad-request',
        `size ${claim.size} in blocks of ${claim.blockSize} bytes is not possible`,
      );
    }
    checkTableFits(geometry, machineMemoryBytes());
    let sizeMax: string | undefined;
    if (claim.size !== null) await this.target.prepare(claim.size);
    else sizeMax = String(await prepareForAnySize(this.target, claim.blockSize));
    const open = openClaimed(this.#options, claim, sizeMax);
    const limit = sizeMax === undefined ? {} : { sizeMax };
    this.journal.setProperties({ claim: JSON.stringify(claim), ...limit });
    this.#open = open;
    return 'new';
  }

  /** Ends the transfer: durably recorded, then nothing is written any more. */
  seal(receipt: SealedReceipt): void {
    this.journal.setProperties({ receipt: receipt.json, receiptSignature: receipt.signature });
    this.#sealed = receipt;
  }

  /** Withdraws the receipt, durably: only for `reopen.ts`. */
  unseal(): void {
    this.journal.removeProperties(['receipt', 'receiptSignature']);
    this.#sealed = undefined;
    this.startVerifying();
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
      ...listUnreadable(open?.table),
      limits: {
        connections: this.#options.connectionsMax,
        zeroRanges: ZERO_RANGES_MAX,
        listing: LISTING_COUNT_MAX,
      },
      encodings: ['zstd', 'gzip'],
    };
  }
}
