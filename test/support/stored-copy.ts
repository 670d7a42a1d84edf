/** Copies in a store that no receiver has made: their chunks, and a manifest with a signed receipt. */
import { hash, randomUUID } from 'node:crypto';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { encodeManifest } from '../../common/store/manifest.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { isZero } from '../../common/io/zeros.ts';
import { MIB } from './processes.ts';
import { signedReceipt } from './signed-copy.ts';

export interface CopyToStore {
  readonly name: string;
  readonly bytes: Buffer;
  /** Default 1 MiB. */
  readonly blockSize?: number;
  /** Default 2026-11-29T14:30:00.000Z. */
  readonly when?: string;
  /** Further members of its receipt. */
  readonly more?: Partial<SealReceipt>;
}

export interface CopyInStore {
  readonly key: string;
  /** Of the chunks, block after block; '' for zeros, which are not stored. */
  readonly chunkKeys: readonly string[];
  readonly digests: Buffer;
}

/** As a receiver does it: zeros are not stored, nothing is stored twice. */
export async function storeCopy(
  store: ObjectStore,
  { name, bytes, blockSize = MIB, when = '2026-11-29T14:30:00.000Z', more = {} }: CopyToStore,
): Promise<CopyInStore> {
  await store.begin();
  const digests: Buffer[] = [];
  const chunkKeys: string[] = [];
  for (let at = 0; at < bytes.length; at += blockSize) {
    const block = bytes.subarray(at, at + blockSize);
    const digest = hash('sha256', block, 'buffer');
    digests.push(digest);
    chunkKeys.push(isZero(Buffer.from(block)) ? '' : store.chunkKey(digest));
    if (chunkKeys.at(-1) !== '') await store.putChunk(block, digest);
  }
  const all = Buffer.concat(digests);
  const transferId = randomUUID();
  const facts = { transferId, sealedAt: when, verifiedAt: when, ...more };
  const signed = signedReceipt({ size: bytes.length, blockSize, digests: all, more: facts });
  const key = store.copyKey(name, when, transferId);
  await store.put(key, encodeManifest({ name, ...signed }, all));
  return { key, chunkKeys, digests: all };
}
