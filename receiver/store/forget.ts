/** `ddt-receive --forget`: gives up copies in an object store. Their chunks go when nothing needs them. */
import { copiesNamed } from '../../common/store/choose-copy.ts';
import { PENDING_FOLDER, openKey } from '../../common/store/collecting.ts';
import type { ObjectStore, StoredCopy } from '../../common/store/object-store.ts';
import type { StoreName } from '../../common/store/store-name.ts';

/**
 * A receiver that is sealing a copy relies on its pending manifest; one that has not done so for a day has
 * to start over anyway: what it found in the store may have been deleted.
 */
const PENDING_MS_MAX = 24 * 3_600_000;

/** What would be given up. */
export interface ToForget {
  readonly copies: readonly StoredCopy[];
  /** When a receiver of the unfinished transfer has last shown that it is there; undefined: there is none. */
  readonly openSeenAtMs: number | undefined;
  /** Keys of manifests that were never sealed. */
  readonly pending: readonly string[];
}

/**
 * @param named with a name. Without a time everything of that name.
 * @throws TransferError `source-refused` where there is nothing; S3Error, Error.
 */
export async function findToForget(store: ObjectStore, named: StoreName): Promise<ToForget> {
  const { copy: name = '', when } = named;
  const all = await store.copies();
  if (when !== undefined) return { copies: copiesNamed(all, named), openSeenAtMs: undefined, pending: [] };
  const openSeenAtMs = await store.modifiedAtMs(openKey(name));
  const pending: string[] = [];
  const nowMs = await store.nowMs();
  for await (const { key, modifiedAtMs } of store.list(`${PENDING_FOLDER}${name}/`)) {
    if (modifiedAtMs < nowMs - PENDING_MS_MAX) pending.push(key);
  }
  const hasCopies = all.some((one) => one.name === name);
  const isOnlyOpen = !hasCopies && (openSeenAtMs !== undefined || pending.length > 0);
  return { copies: isOnlyOpen ? [] : copiesNamed(all, named), openSeenAtMs, pending };
}

/** @param onForgotten called for each copy that is gone. @throws S3Error, Error. */
export async function forget(
  store: ObjectStore,
  name: string,
  { copies, openSeenAtMs, pending }: ToForget,
  onForgotten: (copy: StoredCopy) => void,
): Promise<void> {
  for (const copy of copies) {
    await store.delete(copy.key);
    onForgotten(copy);
  }
  if (openSeenAtMs !== undefined) await store.delete(openKey(name));
  for (const key of pending) await store.delete(key);
}
