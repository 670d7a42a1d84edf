/** `ddt-receive --check`: reads every chunk that copies need, once, and compares it with its name. */
import { DIGEST_BYTES, SHA256, ZeroDigests } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX, blockIndexOf, lengthOf, type Geometry } from '../../common/geometry.ts';
import { SlabPool } from '../../common/io/buffers.ts';
import { rangesOf, type Range } from '../../common/ranges.ts';
import { copiesNamed } from '../../common/store/choose-copy.ts';
import type { Manifest } from '../../common/store/manifest.ts';
import type { ObjectStore, StoredCopy } from '../../common/store/object-store.ts';
import type { StoreName } from '../../common/store/store-name.ts';
import { DigestTable } from './digest-table.ts';
import { sideBySide } from './side-by-side.ts';

const READERS = 8;
/** A byte may change on its way. */
const READINGS_MAX = 2;
/** Of a chunk, in the table. */
const STATES = { reading: 0, equal: 1, absent: 2, different: 3 } as const;

export interface StoreCheck {
  readonly copies: number;
  /** Each once, whatever copies share it; zeros are not stored. */
  readonly chunks: number;
  readonly bytes: number;
  readonly missing: number;
  readonly different: number;
  /** Copies with a manifest that cannot be used. */
  readonly unusable: number;
  /** Copies that cannot be restored as they were. */
  readonly damaged: readonly DamagedCopy[];
}

export interface DamagedCopy {
  readonly copy: StoredCopy;
  readonly geometry: Geometry;
  /** Blocks that are damaged or missing. */
  readonly blocks: readonly Range[];
}

export interface CheckOptions {
  /** A chunk that is not as its name says, as it is found. */
  readonly onDamage: (key: string, state: 'absent' | 'different') => void;
  readonly onUnusable: (copy: StoredCopy, problem: TransferError) => void;
  readonly onProgress: (chunks: number, bytes: number) => void;
}

/** @throws TransferError `source-refused` where what was named is not there; S3Error, Error. */
export async function checkStore(
  store: ObjectStore,
  named: StoreName,
  options: CheckOptions,
): Promise<StoreCheck> {
  const copies = copiesNamed(await store.copies(), named);
  const reader = new ChunkChecker(store, options);
  let unusable = 0;
  const usable: StoredCopy[] = [];
  for (const copy of copies) {
    const manifest = await readManifest(store, copy, options);
    if (manifest === undefined) unusable++;
    else {
      usable.push(copy);
      await reader.check(manifest);
    }
  }
  const { chunks, bytes, missing, different } = reader;
  // Only now is it known which chunks they are, and most stores have none.
  const damaged = missing + different === 0 ? [] : await findDamaged(store, usable, reader);
  return { copies: copies.length, chunks, bytes, missing, different, unusable, damaged };
}

async function readManifest(
  store: ObjectStore,
  copy: StoredCopy,
  { onUnusable }: Pick<CheckOptions, 'onUnusable'>,
): Promise<Manifest | undefined> {
  try {
    return await store.readCopy(copy);
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    onUnusable(copy, error);
    return undefined;
  }
}

async function findDamaged(
  store: ObjectStore,
  copies: readonly StoredCopy[],
  reader: ChunkChecker,
): Promise<DamagedCopy[]> {
  const damaged: DamagedCopy[] = [];
  for (const copy of copies) {
    const manifest = await store.readCopy(copy);
    const blocks = rangesOf(reader.damagedIn(manifest));
    if (blocks.length > 0) damaged.push({ copy, geometry: geometryOf(manifest), blocks });
  }
  return damaged;
}

class ChunkChecker {
  chunks = 0;
  bytes = 0;
  missing = 0;
  different = 0;
  readonly #store: ObjectStore;
  readonly #options: CheckOptions;
  readonly #states = new DigestTable();
  readonly #slabs = new SlabPool({ slabSizeBytes: BLOCK_SIZE_BYTES_MAX, slabCount: READERS });

  constructor(store: ObjectStore, options: CheckOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Those that no earlier copy has. */
  async check(manifest: Manifest): Promise<void> {
    await sideBySide(READERS, blocksOf(manifest), async ({ digest, lengthBytes }) => {
      if (this.#states.get(digest) === undefined) await this.#read(digest, lengthBytes);
    });
  }

  *damagedIn(manifest: Manifest): Iterable<number> {
    for (const { index, digest } of blocksOf(manifest)) {
      if ((this.#states.get(digest) ?? STATES.equal) > STATES.equal) yield index;
    }
  }

  async #read(digest: Buffer, lengthBytes: number): Promise<void> {
    this.#states.set(digest, STATES.reading);
    using slab = await this.#slabs.take();
    const into = slab.bytes.subarray(0, lengthBytes);
    let state = await this.#store.readChunk(into, digest);
    for (let reading = 1; state === 'different' && reading < READINGS_MAX; reading++) {
      state = await this.#store.readChunk(into, digest);
    }
    this.#states.set(digest, STATES[state]);
    this.chunks++;
    this.bytes += lengthBytes;
    if (state === 'absent') this.missing++;
    if (state === 'different') this.different++;
    if (state !== 'equal') this.#options.onDamage(this.#store.chunkKey(digest), state);
    this.#options.onProgress(this.chunks, this.bytes);
  }
}

interface BlockToCheck {
  readonly index: number;
  readonly digest: Buffer;
  readonly lengthBytes: number;
}

/** Without zeros, which are not stored. */
function* blocksOf(manifest: Manifest): Iterable<BlockToCheck> {
  const geometry = geometryOf(manifest);
  const zeros = new ZeroDigests(geometry, SHA256);
  for (let index = 0; index < manifest.receipt.blockCount; index++) {
    const digest = manifest.digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
    if (digest.equals(zeros.of(index))) continue;
    yield { index, digest, lengthBytes: lengthOf(blockIndexOf(index, geometry), geometry) };
  }
}

function geometryOf({ receipt }: Manifest): Geometry {
  return { sizeBytes: receipt.size, blockSizeBytes: receipt.blockSize };
}
