/** `ddt-receive --list s3://bucket/prefix`: the copies in an object store, and the transfers that run. */
import { reasonOf } from '../../common/errors.ts';
import type { SealReceipt, SourceDescription } from '../../common/protocol/protocol.ts';
import { copiesNamed } from '../../common/store/choose-copy.ts';
import { OPEN_FOLDER, readOpenRecord } from '../../common/store/collecting.ts';
import type { ObjectStore, StoredCopy } from '../../common/store/object-store.ts';
import type { StoreName } from '../../common/store/store-name.ts';
import { sideBySide } from './side-by-side.ts';

const READERS = 8;

export interface ListedCopy extends Pick<StoredCopy, 'name' | 'when'> {
  /** undefined where its manifest can't be read: `problem` says why. Its signature is not checked. */
  readonly receipt?: SealReceipt;
  readonly problem?: string;
}

export interface RunningTransfer {
  readonly name: string;
  /** When a receiver has last shown that it is there, by the service's clock. */
  readonly seenAtMs: number;
  readonly startedAtMs: number | null;
  readonly sizeBytes: number | null;
  readonly source: SourceDescription | null;
  readonly problem?: string;
}

export interface StoreListing {
  readonly copies: readonly ListedCopy[];
  readonly running: readonly RunningTransfer[];
  /** By the service's clock. */
  readonly nowMs: number;
}

/** @throws TransferError `source-refused` where what was named is not there; S3Error, Error. */
export async function listStore(store: ObjectStore, named: StoreName): Promise<StoreListing> {
  const running = await readRunning(store, named);
  const all = await store.copies();
  const { copy } = named;
  const hasNone = !all.some(({ name }) => copy === undefined || name === copy);
  const copies = hasNone && (copy === undefined || running.length > 0) ? [] : copiesNamed(all, named);
  const listed: ListedCopy[] = copies.map(({ name, when }) => ({ name, when }));
  await sideBySide(READERS, copies.entries(), async ([at, one]) => {
    listed[at] = { name: one.name, when: one.when, ...(await readHead(store, one)) };
  });
  return { copies: listed, running, nowMs: await store.nowMs() };
}

async function readHead(
  store: ObjectStore,
  copy: StoredCopy,
): Promise<Pick<ListedCopy, 'receipt' | 'problem'>> {
  try {
    return { receipt: (await store.readCopyHead(copy)).receipt };
  } catch (error) {
    return { problem: reasonOf(error) };
  }
}

async function readRunning(store: ObjectStore, { copy, when }: StoreName): Promise<RunningTransfer[]> {
  const found: RunningTransfer[] = [];
  if (when !== undefined) return found;
  for await (const { key, modifiedAtMs: seenAtMs } of store.list(OPEN_FOLDER)) {
    const name = key.slice(OPEN_FOLDER.length).replace(/\.json$/, '');
    if (copy !== undefined && name !== copy) continue;
    const nothing = { name, seenAtMs, startedAtMs: null, sizeBytes: null, source: null };
    try {
      const record = await readOpenRecord(store, name);
      if (record === undefined) continue;
      const { claim, startedAt } = record;
      const startedAtMs = Date.parse(startedAt);
      const facts = { sizeBytes: claim?.size ?? null, source: claim?.source ?? null };
      found.push({ ...nothing, startedAtMs: Number.isNaN(startedAtMs) ? null : startedAtMs, ...facts });
    } catch (error) {
      found.push({ ...nothing, problem: reasonOf(error) });
    }
  }
  return found;
}
