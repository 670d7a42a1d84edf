/**
 * A copy in an object store as the target. Its blocks are chunks under their digests, so the receiver's table
 * of blocks is the map of the disk: what is not in the table is nowhere, and nothing is ever overwritten.
 */
import { digestNow } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf } from '../../common/geometry.ts';
import { isZero } from '../../common/io/zeros.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import { ObjectStore, type StoreOptions } from '../../common/store/object-store.ts';
import type { TellOutage } from '../../common/store/s3-client.ts';
import { parseStoreName } from '../../common/store/store-name.ts';
import type { FoundTarget } from './found-target.ts';
import { READ_BACK, StoreCopy, failed } from './store-copy.ts';
import type { Target, TargetIdentity, WriteMark } from './target.ts';

/** Nobody writes to a chunk; what becomes of it is found when it is read back. */
const MARK: WriteMark = { foreignBytes: 0, stamp: '' };

/** @param text `s3://bucket/prefix#name`. @throws TransferError `usage`, `connection-failed`. */
export async function findStore(text: string, options: StoreOptions): Promise<FoundTarget> {
  const name = parseStoreName(text);
  const { copy } = name;
  if (copy === undefined) {
    throw new TransferError('usage', `cannot write to ${name.store}: the copy has no name`, {
      hint: `name it after a #, as all later copies of this disk: ${name.store}#web1`,
    });
  }
  const store = await ObjectStore.open(name, options);
  const identity: TargetIdentity = {
    kind: 'store',
    path: name.name,
    model: null,
    serial: null,
    wwn: null,
    byId: null,
    sizeBytes: null,
    fileId: null,
    logicalSectorBytes: 512,
    description: 'copy in an object store',
  };
  let isTaken = false;
  return {
    identity,
    name: `${name.name} (${identity.description})`,
    content: [],
    isAbsent: false,
    isAt: async (path) => await Promise.resolve(path === identity.path),
    open: async () => {
      isTaken = true;
      const places = { bootId: null, itself: [], within: [] };
      return await Promise.resolve({ target: new StoreTarget(identity, store, copy), places });
    },
    [Symbol.asyncDispose]: async () => {
      if (!isTaken) await store[Symbol.asyncDispose]();
    },
  };
}

export class StoreTarget implements Target {
  readonly isSizeFixed = false;
  readonly sectorBytes = null;
  readonly identity: TargetIdentity;
  readonly store: StoreCopy;
  readonly #chunks: ObjectStore;

  /** @param chunks closed with the target. @param copy its name there. */
  constructor(identity: TargetIdentity, chunks: ObjectStore, copy: string) {
    this.identity = identity;
    this.#chunks = chunks;
    this.store = new StoreCopy(chunks, copy);
  }

  async confirm(): Promise<void> {
    return await Promise.resolve();
  }

  async prepare(): Promise<void> {
    return await Promise.resolve();
  }

  /** Asked with the rights that are left, it shows whether the service can be reached. */
  async lengthBytes(): Promise<number> {
    try {
      await this.#chunks.nowMs();
      return this.store.map?.geometry.sizeBytes ?? 0;
    } catch (error) {
      throw failed(`reach ${this.identity.path}`, error);
    }
  }

  /** Nobody knows how much a bucket takes; a full one says so. */
  async roomBytes(): Promise<number> {
    return await Promise.resolve(Number.MAX_SAFE_INTEGER);
  }

  reportOutages(tell: TellOutage): void {
    this.#chunks.reportOutages(tell);
  }

  stopWaiting(): void {
    this.#chunks.stopWaiting();
  }

  /** The service compares the bytes with the digest before it stores them. */
  async write(bytes: Buffer, offset: number, digest: Buffer = digestNow(bytes)): Promise<void> {
    if (isZero(bytes)) return;
    try {
      if (await this.#chunks.putChunk(bytes, digest)) return;
      // Another writer was faster, or the answer to an earlier attempt was lost, or it has been damaged.
      const isFine =
        !this.store.isCondemned(digest) && (await this.#chunks.checkChunk(digest, bytes.length)) === 'equal';
      if (!isFine) await this.#chunks.replaceChunk(bytes, digest);
    } catch (error) {
      throw failed(`store the block at offset ${offset} of ${this.identity.path}`, error);
    }
  }

  /** The digest says that they are zeros. */
  async writeZeros(): Promise<void> {
    return await Promise.resolve();
  }

  async read(into: Buffer, offset: number): Promise<void> {
    const what = `read ${into.length} bytes at offset ${offset} of ${this.identity.path}`;
    const { map } = this.store;
    if (map === undefined) throw failed(what, new Error('no transfer is open'));
    const { geometry } = map;
    const index = blockIndexOf(Math.floor(offset / geometry.blockSizeBytes), geometry);
    const digest = Buffer.from(map.digestOf(index));
    if (digest.equals(map.zeroDigestOf(index))) return void into.fill(0);
    const part = { offset: offset % geometry.blockSizeBytes, chunkBytes: lengthOf(index, geometry) };
    try {
      const state = await this.#chunks.loadChunk(into, digest, part);
      if (state === 'equal') return;
      const why = state === 'absent' ? 'is missing' : 'has another length';
      throw new Error(`${this.#chunks.chunkKey(digest)} ${why}`);
    } catch (error) {
      throw failed(what, error);
    }
  }

  async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    await this.read(into, offset);
    return READ_BACK;
  }

  /** What the service has acknowledged is durable. */
  async flush(): Promise<void> {
    return await Promise.resolve();
  }

  async writeMark(): Promise<WriteMark> {
    return await Promise.resolve(MARK);
  }

  async close(): Promise<void> {
    await this.#chunks[Symbol.asyncDispose]();
  }
}
