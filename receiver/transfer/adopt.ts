/**
 * Adopts the content of the target: a copy that another tool made, an earlier image, a snapshot that the
 * provider restored. Each block is read past the page cache, hashed, and recorded with its digest; the sender
 * then sends the blocks that differ. Only blocks that were read are listed.
 */
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf } from '../../common/geometry.ts';
import { SlabPool } from '../../common/io/buffers.ts';
import { isZero } from '../../common/io/zeros.ts';
import type { Claim } from '../../common/protocol/protocol.ts';
import type { DurableBlock } from '../journal/journal.ts';
import type { OpenTransfer, Transfer } from './transfer.ts';

/** Enough concurrent reads for the disk to be the limit. */
const READERS = 4;
/** Blocks in one transaction of the journal; a crash makes us read that many again. */
const BATCH = 256;

/** Property of the journal: the first block that has not been read yet; removed at the end. */
const CURSOR = 'adoptFrom';

export interface AdoptionEvents {
  /** All of the target was read; `blocks` of them are listed. */
  onAdopted?(blocks: number): void;
  /** It stopped halfway; a restart of the receiver resumes it. */
  onAdoptionFailed?(error: TransferError): void;
}

export interface AdoptionProgress {
  readonly done: number;
  readonly total: number;
}

/** To be called before the claim. @throws TransferError `size-unknown` for a pipe. */
export function refuseAdoption({ journal }: Transfer, claim: Claim): void {
  if (claim.size !== null || journal.property(CURSOR) === undefined) return;
  throw new TransferError('size-unknown', 'adopting the content of the target needs the size of the source', {
    hint: 'give the size of the pipe with --source-size',
  });
}

/** Marks the transfer, durably, before it is claimed. */
export function planAdoption({ journal }: Transfer): void {
  journal.setProperties({ [CURSOR]: '0' });
}

/** Starts, or resumes after a restart; the reading itself runs in the background. */
export async function startAdoption(transfer: Transfer): Promise<void> {
  const from = transfer.journal.property(CURSOR);
  const open = transfer.opened;
  if (from === undefined || open === undefined || transfer.sealed !== undefined) return;
  // Bytes that other programs left in the page cache reach the disk before it is read; later ones are
  // noticed.
  await open.durability.flushEverything();
  await open.verifier?.look();
  transfer.adoption = new Adoption(transfer, open, Number(from));
  transfer.adoption.start();
}

export class Adoption {
  readonly #transfer: Transfer;
  readonly #open: OpenTransfer;
  readonly #slabs: SlabPool;
  /** Blocks that were read and wait for their transaction, by index. No block is written meanwhile. */
  readonly #read = new Map<number, { readonly block: DurableBlock | undefined }>();
  #next: number;
  #recorded: number;
  #isStopped = false;
  #running: Promise<void> | undefined;
  #failure: TransferError | undefined;

  constructor(transfer: Transfer, open: OpenTransfer, from: number) {
    this.#transfer = transfer;
    this.#open = open;
    this.#next = from;
    this.#recorded = from;
    this.#slabs = new SlabPool({ slabSizeBytes: open.geometry.blockSizeBytes, slabCount: READERS });
  }

  /** @throws TransferError that stopped it; a restart of the receiver resumes it. */
  get progress(): AdoptionProgress {
    if (this.#failure !== undefined) throw this.#failure;
    return { done: this.#recorded, total: this.#open.blockCount };
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      await Promise.all(Array.from({ length: READERS }, async () => await this.#readSome()));
      this.#record();
      if (this.#isStopped) return;
      this.#transfer.journal.removeProperties([CURSOR]);
      this.#transfer.adoption = undefined;
      this.#transfer.events.onAdopted?.(this.#open.blockCount - this.#open.table.countOf('absent'));
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      this.#isStopped = true;
      this.#failure = error;
      this.#transfer.events.onAdoptionFailed?.(error);
      if (error.code === 'journal-error') this.#transfer.events.onJournalBroken(error);
    }
  }

  async #readSome(): Promise<void> {
    while (!this.#isStopped && this.#next < this.#open.blockCount) {
      const index = this.#next++;
      this.#read.set(index, { block: await this.#readBlock(index) });
      if (this.#read.size >= BATCH) this.#record();
    }
  }

  /** @returns undefined if the block is durable already, or can't be read: the sender then sends it. */
  async #readBlock(number: number): Promise<DurableBlock | undefined> {
    const { table, geometry, digest, zeroDigests } = this.#open;
    if (table.stateOf(number) !== 'absent') return undefined;
    const index = blockIndexOf(number, geometry);
    using slab = await this.#slabs.take();
    const bytes = slab.bytes.subarray(0, lengthOf(index, geometry));
    try {
      await this.#transfer.target.readBack(bytes, offsetOf(index, geometry));
    } catch (error) {
      if (error instanceof TransferError && error.code === 'io-error') return undefined;
      throw error;
    }
    return { index, digest: isZero(bytes) ? zeroDigests.of(index) : await digest.of(bytes) };
  }

  /** Records the blocks read since the last transaction, up to the first gap. */
  #record(): void {
    const { table, verifier } = this.#open;
    const blocks: DurableBlock[] = [];
    let end = this.#recorded;
    for (let read = this.#read.get(end); read !== undefined; read = this.#read.get(++end)) {
      if (read.block !== undefined) blocks.push(read.block);
    }
    this.#transfer.journal.recordDurable(blocks, { [CURSOR]: String(end) });
    // They were read past the cache just now, which is what `verified` means.
    const state = verifier === undefined ? 'durable' : 'verified';
    for (const { index, digest } of blocks) table.set(index, state, digest);
    for (; this.#recorded < end; this.#recorded++) this.#read.delete(this.#recorded);
  }
}
