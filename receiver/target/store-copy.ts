/**
 * One name in an object store, as its receivers share it: the record of the running transfer, the seal, and
 * what keeps its chunks from being collected. docs/design/object-store.md has the order of all that.
 */
import { randomUUID } from 'node:crypto';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { blockCountOf, blockIndexOf, lengthOf } from '../../common/geometry.ts';
import { SlabPool } from '../../common/io/buffers.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import {
  CondemnedChunks,
  encodeOpenRecord,
  isSweeping,
  openKey,
  pendingKey,
  readOpenRecord,
  type OpenRecord,
} from '../../common/store/collecting.ts';
import { encodeManifest } from '../../common/store/manifest.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { S3Error } from '../../common/store/s3-answers.ts';
import type { BlockMap, CopyToSeal, TargetStore } from './target.ts';

/** How every block is read here, also one that was there before. */
export const READ_BACK: ReadBackMethod = 'object-store';
/** Questions at once whether a chunk is there. */
const QUESTIONS_MAX = 32;
/** A collection deletes what has been condemned for a day: later than this it may have happened unseen. */
const UNTENDED_MS_MAX = 12 * 3_600_000;
const SWEEP_RETRY_SECONDS = 5;

export class StoreCopy implements TargetStore {
  readonly #store: ObjectStore;
  readonly #name: string;
  readonly #condemned = new CondemnedChunks();
  #map: BlockMap | undefined;
  /** For a chunk that is stored again; made when there is one. */
  #slabs: SlabPool | undefined;
  #record: OpenRecord | undefined;
  /** By the service's clock. */
  #tendedMs: number | undefined;

  /** @param name of the copies, of which this will be one. */
  constructor(store: ObjectStore, name: string) {
    this.#store = store;
    this.#name = name;
  }

  follow(map: BlockMap): void {
    this.#map = map;
  }

  get map(): BlockMap | undefined {
    return this.#map;
  }

  isCondemned(digest: Buffer): boolean {
    return this.#condemned.has(digest);
  }

  async holds(digest: Buffer, lengthBytes: number): Promise<ReadBackMethod | undefined> {
    return await this.#run('look for a block in', async () => {
      const isEqual = this.isCondemned(digest)
        ? await this.#renew(digest, lengthBytes)
        : (await this.#store.checkChunk(digest, lengthBytes)) === 'equal';
      return isEqual ? READ_BACK : undefined;
    });
  }

  async join(isNew: boolean): Promise<OpenRecord> {
    return await this.#run('begin a copy in', async () => {
      await this.#store.begin();
      const found = await readOpenRecord(this.#store, this.#name);
      const isSealed = found !== undefined && (await this.#isSealed(found.transferId));
      // What a receiver could not end that was killed.
      if (isSealed) await this.#end(found.transferId);
      // Another receiver may be sealing it at this moment: its pending manifest stays.
      else if (isNew) await this.#store.delete(openKey(this.#name));
      const isOver = isSealed || isNew;
      this.#record = found === undefined || isOver ? await this.#begin() : found;
      return this.#record;
    });
  }

  /** Of receivers that begin at the same time one is first, and the others follow it. */
  async #begin(): Promise<OpenRecord> {
    const nowMs = await this.#store.nowMs();
    const record: OpenRecord = {
      transferId: randomUUID(),
      startedAt: new Date(nowMs).toISOString(),
      claim: null,
      sizeMax: null,
      hasLeftOut: false,
      ticketIssuedAt: Math.floor(nowMs / 1000),
    };
    await this.#store.putNew(openKey(this.#name), encodeOpenRecord(record));
    return (await readOpenRecord(this.#store, this.#name)) ?? record;
  }

  async #isSealed(transferId: string): Promise<boolean> {
    return (await this.#store.copies(this.#name)).some((copy) => copy.transferId === transferId);
  }

  async current(): Promise<OpenRecord | undefined> {
    return await this.#run('read the state of', async () => {
      const { transferId } = this.#joined;
      const found = await readOpenRecord(this.#store, this.#name);
      const isOther =
        found === undefined ? await this.#isSealed(transferId) : found.transferId !== transferId;
      if (!isOther) return found;
      throw new TransferError(
        'transfer-mismatch',
        `another receiver has sealed this transfer onto ${this.#title}, or has begun another one`,
        { hint: 'start this ddt-receive again, and use the ticket that it prints then' },
      );
    });
  }

  async keep(record: Omit<OpenRecord, 'startedAt'>): Promise<void> {
    const found = (await this.current()) ?? this.#joined;
    await this.#run('record the transfer in', async () => {
      // What this receiver does not know another one may have recorded.
      const kept: OpenRecord = {
        ...record,
        startedAt: this.#joined.startedAt,
        claim: record.claim ?? found.claim,
        sizeMax: record.sizeMax ?? found.sizeMax,
        hasLeftOut: record.hasLeftOut || found.hasLeftOut,
        ticketIssuedAt: Math.max(record.ticketIssuedAt, found.ticketIssuedAt),
      };
      await this.#store.put(openKey(this.#name), encodeOpenRecord(kept));
    });
  }

  async seal({ transferId, sealedAt, receipt, signature, digests }: CopyToSeal): Promise<readonly number[]> {
    return await this.#run('seal the copy in', async () => {
      const manifest = encodeManifest({ name: this.#name, receipt, signature }, digests);
      // In this order: see the document.
      await this.#store.put(pendingKey(this.#name, transferId), manifest);
      if (await isSweeping(this.#store)) throw this.#sweeping();
      await this.#condemned.read(this.#store);
      const missing = await this.#missing();
      if (missing.length > 0) return missing;
      await this.#store.put(this.#store.copyKey(this.#name, sealedAt, transferId), manifest);
      // It is sealed, whatever becomes of these: the next receiver finds its manifest.
      await this.#end(transferId).catch(() => {});
      return missing;
    });
  }

  /** What is in the store for a running transfer only. */
  async #end(transferId: string): Promise<void> {
    await this.#store.delete(pendingKey(this.#name, transferId));
    // Another receiver may have begun another transfer.
    const found = await readOpenRecord(this.#store, this.#name);
    if (found?.transferId === transferId) await this.#store.delete(openKey(this.#name));
  }

  async tend(): Promise<boolean> {
    return await this.#run('look for condemned blocks in', async () => {
      const nowMs = await this.#store.nowMs();
      const isLate = nowMs - (this.#tendedMs ?? nowMs) > UNTENDED_MS_MAX;
      if (await this.#condemned.read(this.#store)) {
        for (const index of this.#condemnedBlocks()) {
          const { geometry, digestOf } = this.#followed;
          await this.#renew(Buffer.from(digestOf(index)), lengthOf(blockIndexOf(index, geometry), geometry));
        }
      }
      this.#tendedMs = nowMs;
      return isLate;
    });
  }

  /** Stores a chunk again, which makes it younger than the list it is on. @returns whether it is there. */
  async #renew(digest: Buffer, lengthBytes: number): Promise<boolean> {
    const { blockSizeBytes: slabSizeBytes } = this.#followed.geometry;
    this.#slabs ??= new SlabPool({ slabSizeBytes, slabCount: 1 });
    using slab = await this.#slabs.take();
    const bytes = slab.bytes.subarray(0, lengthBytes);
    if ((await this.#store.readChunk(bytes, digest)) !== 'equal') return false;
    await this.#store.replaceChunk(bytes, digest);
    return true;
  }

  /** Those of the transfer, each chunk once. */
  *#condemnedBlocks(): Iterable<number> {
    if (this.#map === undefined) return;
    const { geometry, digestOf, zeroDigestOf } = this.#map;
    const seen = new Set<string>();
    for (let index = 0; index < blockCountOf(geometry); index++) {
      const digest = digestOf(index);
      if (!this.#condemned.has(digest) || digest.equals(zeroDigestOf(index))) continue;
      const text = digest.toString('latin1');
      if (!seen.has(text)) yield index;
      seen.add(text);
    }
  }

  /** Of the condemned ones: all others nobody deletes. */
  async #missing(): Promise<number[]> {
    const gone = new Set<string>();
    const asked: Promise<void>[] = [];
    for (const index of this.#condemnedBlocks()) {
      const digest = Buffer.from(this.#followed.digestOf(index));
      asked.push(this.#note(digest, gone));
      if (asked.length === QUESTIONS_MAX) await Promise.all(asked.splice(0));
    }
    await Promise.all(asked);
    if (gone.size === 0) return [];
    const { geometry, digestOf } = this.#followed;
    return Array.from({ length: blockCountOf(geometry) }, (_, index) => index).filter((index) =>
      gone.has(digestOf(index).toString('latin1')),
    );
  }

  async #note(digest: Buffer, gone: Set<string>): Promise<void> {
    const modifiedAtMs = await this.#store.modifiedAtMs(this.#store.chunkKey(digest));
    if (modifiedAtMs === undefined) gone.add(digest.toString('latin1'));
  }

  get #joined(): OpenRecord {
    if (this.#record !== undefined) return this.#record;
    throw new Error('no transfer was joined');
  }

  get #followed(): BlockMap {
    if (this.#map !== undefined) return this.#map;
    throw new Error('no transfer is open');
  }

  get #title(): string {
    return `${this.#store.name.store}#${this.#name}`;
  }

  #sweeping(): TransferError {
    const { store } = this.#store.name;
    const message = `blocks are being deleted from ${store}: the copy is sealed when that ends`;
    return new TransferError('in-use', message, { retryAfterSeconds: SWEEP_RETRY_SECONDS });
  }

  async #run<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw failed(`${what} ${this.#title}`, error);
    }
  }
}

/** What the service has said, as a failure of the target. */
export function failed(what: string, cause: unknown): TransferError {
  if (cause instanceof TransferError) return cause;
  const isFull = cause instanceof S3Error && cause.isFull;
  return new TransferError(isFull ? 'no-space' : 'io-error', `cannot ${what}: ${reasonOf(cause)}`, { cause });
}
