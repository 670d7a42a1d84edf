/** A copy in an object store as the source: what it holds is compared with its digests as it is read. */
import { countAreas, joinAreas, SECTOR_BYTES, type Area } from '../../common/areas.ts';
import { DIGEST_BYTES, SHA256, ZeroDigests } from '../../common/digest/digest.ts';
import { diskKind, diskName } from '../../common/disk/disk-line.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, type Geometry } from '../../common/geometry.ts';
import { countLeftOut } from '../../common/protocol/left-out.ts';
import type { SealReceipt, SourceDescription } from '../../common/protocol/protocol.ts';
import { copyName, oneCopyNamed } from '../../common/store/choose-copy.ts';
import type { Manifest } from '../../common/store/manifest.ts';
import { ObjectStore, type ChunkState, type StoreOptions } from '../../common/store/object-store.ts';
import type { TellOutage } from '../../common/store/s3-client.ts';
import { parseStoreName } from '../../common/store/store-name.ts';
import type { OnReadError } from '../bad-sectors/read-errors.ts';
import { ReadMap } from '../bad-sectors/read-map.ts';
import { KeptChunks } from './kept-chunks.ts';
import type { Source } from './source.ts';

/** A byte may change on its way. */
const READINGS_MAX = 2;

export interface StoreSourceOptions extends StoreOptions {
  readonly onReadError: OnReadError;
}

export class StoreSource implements Source {
  readonly canReread = true;
  readonly description: SourceDescription;
  readonly sizeBytes: number;
  readonly map: ReadMap;
  readonly notes: readonly string[];
  readonly #store: ObjectStore;
  readonly #digests: Buffer;
  readonly #geometry: Geometry;
  readonly #zeros: ZeroDigests;
  readonly #onReadError: OnReadError;
  readonly #kept: KeptChunks<ChunkState>;

  constructor(store: ObjectStore, manifest: Manifest, path: string, onReadError: OnReadError) {
    const { receipt, digests } = manifest;
    this.#store = store;
    this.#digests = digests;
    this.#geometry = { sizeBytes: receipt.size, blockSizeBytes: receipt.blockSize };
    this.#zeros = new ZeroDigests(this.#geometry, SHA256);
    this.#onReadError = onReadError;
    this.#kept = new KeptChunks(receipt.blockSize, async (index, slab) => {
      return await this.#fetch(index, slab.subarray(0, this.#lengthOf(index)));
    });
    this.description = { description: kindOf(receipt), path, model: null, serial: null, byId: null };
    this.sizeBytes = receipt.size;
    this.map = new ReadMap(receipt.size);
    this.notes = notesOf(manifest);
  }

  /** @throws TransferError `usage`, `source-refused`, `connection-failed`. */
  static async open(name: string, { onReadError, ...options }: StoreSourceOptions): Promise<StoreSource> {
    const named = parseStoreName(name);
    await using stack = new AsyncDisposableStack();
    const store = stack.use(await ObjectStore.open(named, options));
    try {
      const copy = oneCopyNamed(await store.copies(), named);
      const source = new StoreSource(
        store,
        await store.readCopy(copy),
        copyName(named.store, copy),
        onReadError,
      );
      stack.move();
      return source;
    } catch (error) {
      if (error instanceof TransferError) throw error;
      throw new TransferError('source-refused', `cannot read ${named.name}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  }

  reportOutages(tell: TellOutage): void {
    this.#store.reportOutages(tell);
  }

  async read(into: Buffer<ArrayBuffer>, offset: number, signal?: AbortSignal): Promise<readonly Area[]> {
    const { blockSizeBytes } = this.#geometry;
    const end = offset + into.length;
    const unreadable: Area[] = [];
    let at = offset;
    while (at < end) {
      const index = Math.floor(at / blockSizeBytes);
      const from = at - index * blockSizeBytes;
      const part = into.subarray(at - offset, Math.min(end, at - from + this.#lengthOf(index)) - offset);
      const state = await this.#readPart(index, part, from, signal);
      if (state !== 'equal') {
        this.#note({ index, at, lengthBytes: part.length, state });
        part.fill(0);
        unreadable.push([at, part.length]);
      }
      at += part.length;
    }
    return joinAreas(unreadable);
  }

  /** As the manifest says: chunks of zeros are not stored. */
  // oxlint-disable-next-line require-await
  async countZeros(offset: number, blockBytes: number, count: number): Promise<number> {
    const { blockSizeBytes } = this.#geometry;
    const end = offset + blockBytes * count;
    let index = Math.floor(offset / blockSizeBytes);
    while (index * blockSizeBytes < end && this.#isZero(index)) index++;
    const zeroBytes = Math.min(end, index * blockSizeBytes) - offset;
    return Math.max(0, Math.floor(zeroBytes / blockBytes));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
  }

  /** @param from within the chunk. */
  async #readPart(
    index: number,
    into: Buffer,
    from: number,
    signal: AbortSignal | undefined,
  ): Promise<ChunkState> {
    if (this.#isZero(index)) {
      into.fill(0);
      return 'equal';
    }
    if (into.length === this.#lengthOf(index)) return await this.#fetch(index, into, signal);
    const copy = (bytes: Buffer): void => void bytes.copy(into, 0, from, from + into.length);
    return await this.#kept.read(index, copy, signal);
  }

  async #fetch(index: number, into: Buffer, signal?: AbortSignal): Promise<ChunkState> {
    for (let reading = 1; ; reading++) {
      try {
        const state = await this.#store.readChunk(into, this.#digestOf(index), signal);
        if (state !== 'different' || reading === READINGS_MAX) return state;
      } catch (error) {
        signal?.throwIfAborted();
        const what = `cannot read ${this.#keyOf(index)}: ${reasonOf(error)}`;
        const hint = 'run the same command again to resume; what was sent is safe';
        throw new TransferError('source-read', what, { cause: error, hint });
      }
    }
  }

  /** It is gone, or has other bytes. @throws TransferError `source-read` unless the copy continues. */
  #note({ index, at, lengthBytes, state }: Damage): void {
    this.map.noteUnreadable(at, lengthBytes);
    if (this.#onReadError === 'zero') return;
    const { path } = this.description;
    const reason =
      state === 'absent'
        ? `there is no ${this.#keyOf(index)}`
        : `the bytes in ${this.#keyOf(index)} are not those of its name`;
    const sector = Math.floor(at / SECTOR_BYTES);
    const what = `cannot read ${lengthBytes} bytes at offset ${at} of ${path}: ${reason} (sector ${sector})`;
    throw new TransferError('source-read', what, {
      hint:
        `ddt-receive --check '${this.#store.name.store}' lists all damage; a new copy of a disk that has ` +
        'these bytes stores them again; with --on-read-error zero they are replaced by zeros, and listed',
    });
  }

  #isZero(index: number): boolean {
    return this.#digestOf(index).equals(this.#zeros.of(index));
  }

  #digestOf(index: number): Buffer {
    return this.#digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
  }

  #keyOf(index: number): string {
    return `${this.#store.name.store}/${this.#store.chunkKey(this.#digestOf(index))}`;
  }

  #lengthOf(index: number): number {
    return lengthOf(blockIndexOf(index, this.#geometry), this.#geometry);
  }
}

interface Damage {
  readonly index: number;
  /** What was wanted of the chunk. */
  readonly at: number;
  readonly lengthBytes: number;
  readonly state: ChunkState;
}

function kindOf({ source }: SealReceipt): string {
  if (source === null) return 'stored copy';
  const place = source.path === '' ? '' : `${diskName(source)}: `;
  return `stored copy of ${place}${diskKind(source)}`;
}

/** What its receipt says of it that not everybody expects. */
function notesOf({ receipt, fingerprint }: Manifest): string[] {
  const { unreadable, leftOut, verified } = receipt;
  return [
    `its receipt is signed by the key ${fingerprint}`,
    ...(unreadable.length === 0
      ? []
      : [`${countAreas(unreadable)} of its source were unreadable when it was stored: zeros on the target`]),
    ...(leftOut === null
      ? []
      : [`${countLeftOut(leftOut)} of its source were left out when it was stored: zeros on the target`]),
    ...(verified === 'none' ? ['it was not read back when it was stored'] : []),
  ];
}
