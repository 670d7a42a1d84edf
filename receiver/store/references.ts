/** Which chunks the manifests of a store refer to, and since when transfers run that may need others. */
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { OPEN_FOLDER, PENDING_FOLDER, readOpenRecord } from '../../common/store/collecting.ts';
import { decodeManifest } from '../../common/store/manifest.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { DigestTable } from './digest-table.ts';

const COPIES_FOLDER = 'copies/';

/**
 * Of all manifests that are in the store at some moment after this begins: a pending one may become a sealed
 * one meanwhile, so those come first.
 * @throws TransferError `state-refused` for a manifest that cannot be read: what it needs is not known.
 */
export async function readReferences(store: ObjectStore): Promise<DigestTable> {
  const references = new DigestTable();
  for (const folder of [PENDING_FOLDER, COPIES_FOLDER]) {
    for await (const { key, sizeBytes } of store.list(folder)) {
      const bytes = await store.getSized(key, sizeBytes);
      // It was forgotten, or has been sealed.
      if (bytes === undefined) continue;
      const digests = digestsOf(store, key, bytes);
      for (let at = 0; at < digests.length; at += DIGEST_BYTES) references.set(digests, 1, at);
    }
  }
  return references;
}

function digestsOf(store: ObjectStore, key: string, bytes: Buffer): Buffer {
  try {
    return decodeManifest(bytes).digests;
  } catch (error) {
    const [, name, when] = /^copies\/([^/]+)\/([^/]+Z)-/.exec(key) ?? [];
    const what = `cannot use the manifest ${store.name.store}/${key}: ${reasonOf(error)}`;
    throw new TransferError('state-refused', `nothing is deleted: ${what}`, {
      cause: error,
      hint:
        when === undefined
          ? 'which chunks it needs is not known: remove it if no receiver is sealing that copy'
          : `which chunks it needs is not known: ddt-receive --forget '${store.name.store}#${name}@${when}'`,
    });
  }
}

/** By the service's clock; Infinity where no transfer runs. @throws TransferError `state-refused`. */
export async function oldestStartMs(store: ObjectStore): Promise<number> {
  let oldest = Infinity;
  for await (const { key } of store.list(OPEN_FOLDER)) {
    const name = key.slice(OPEN_FOLDER.length).replace(/\.json$/, '');
    const record = await readOpenRecord(store, name).catch((error: unknown) => {
      throw damaged(store, name, error);
    });
    if (record === undefined) continue;
    const startedMs = Date.parse(record.startedAt);
    if (Number.isNaN(startedMs)) throw damaged(store, name, new Error('its time is none'));
    oldest = Math.min(oldest, startedMs);
  }
  return oldest;
}

function damaged(store: ObjectStore, name: string, cause: unknown): TransferError {
  const what = `cannot read the transfer onto ${store.name.store}#${name}: ${reasonOf(cause)}`;
  return new TransferError('state-refused', `nothing is condemned: ${what}`, { cause });
}
