/**
 * Deletes the chunks that no copy refers to any more, in two phases: docs/design/object-store.md. One reading
 * of the listing of all chunks does both.
 */
import type { Clock } from '../../common/clock.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { CONDEMNED_FOLDER } from '../../common/store/collecting.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { DigestTable } from './digest-table.ts';
import { GRACE_MS, fateOf, isDue, type CollectionTimes, type Fate } from './fate.ts';
import { oldestStartMs, readReferences } from './references.ts';
import { SweepClaim } from './sweep-claim.ts';

const DELETIONS_MAX = 16;
/** 3 MiB a list. */
const CONDEMNED_MAX = 100_000;

export interface Tally {
  chunks: number;
  bytes: number;
}

export interface Collection {
  readonly tally: Readonly<Record<Fate, Readonly<Tally>>>;
  /** When a run will delete what is condemned now, at the earliest; undefined: nothing is. */
  readonly nextAtMs: number | undefined;
}

export interface CollectOptions {
  readonly clock: Clock;
  readonly graceMs?: number;
  /** Called with the chunks that were looked at so far. */
  readonly onProgress?: (chunks: number) => void;
}

interface CondemnedList {
  readonly key: string;
  readonly atMs: number;
}

/** @throws TransferError `in-use`, `state-refused`, `connection-failed`; S3Error, Error. */
export async function collect(store: ObjectStore, options: CollectOptions): Promise<Collection> {
  const { clock, graceMs = GRACE_MS, onProgress = () => {} } = options;
  await using claim = await SweepClaim.take(store, clock);
  const condemned = new DigestTable();
  const lists = await readCondemned(store, condemned);
  const oldest = await oldestStartMs(store);
  // After the claim was put: what is sealed later looks at it.
  const references = await readReferences(store);
  const times: CollectionTimes = { nowMs: await store.nowMs(), graceMs, oldestStartMs: oldest };
  const tally = { keep: none(), young: none(), condemn: none(), waits: none(), delete: none() };
  const added = new CondemnedWriter(store, times.nowMs);
  // Ends before the claim does, however this ends.
  await using deleter = new Deleter(store, claim);
  let seen = 0;
  for await (const { key, digest, modifiedAtMs, sizeBytes } of store.chunks()) {
    const isReferenced = references.get(digest) !== undefined;
    const fate = fateOf({ isReferenced, modifiedAtMs, condemnedAtMs: condemned.get(digest) }, times);
    tally[fate].chunks++;
    tally[fate].bytes += sizeBytes;
    if (fate === 'delete') await deleter.delete(key);
    if (fate === 'condemn') await added.add(digest);
    onProgress(++seen);
  }
  await deleter.end();
  await added.end();
  // What is left of these is wanted again.
  for (const { key, atMs } of lists) {
    claim.assertHeld();
    if (isDue(atMs, times)) await store.delete(key);
  }
  const waiting = lists.map(({ atMs }) => atMs).filter((atMs) => !isDue(atMs, times));
  const [first = added.isEmpty ? undefined : times.nowMs] = waiting.sort((a, b) => a - b);
  return { tally, nextAtMs: first === undefined ? undefined : first + graceMs };
}

function none(): Tally {
  return { chunks: 0, bytes: 0 };
}

/** Of a chunk on several lists the last counts. */
async function readCondemned(store: ObjectStore, table: DigestTable): Promise<CondemnedList[]> {
  const lists: CondemnedList[] = [];
  for await (const { key, sizeBytes, modifiedAtMs: atMs } of store.list(CONDEMNED_FOLDER)) {
    const digests = await store.getSized(key, sizeBytes);
    if (digests === undefined) continue;
    lists.push({ key, atMs });
    for (let at = 0; at + DIGEST_BYTES <= digests.length; at += DIGEST_BYTES) {
      table.set(digests, Math.max(atMs, table.get(digests, at) ?? 0), at);
    }
  }
  return lists;
}

class CondemnedWriter {
  readonly #store: ObjectStore;
  readonly #nowMs: number;
  #digests: Buffer[] = [];
  #lists = 0;

  constructor(store: ObjectStore, nowMs: number) {
    this.#store = store;
    this.#nowMs = nowMs;
  }

  get isEmpty(): boolean {
    return this.#lists === 0;
  }

  async add(digest: Buffer): Promise<void> {
    this.#digests.push(digest);
    if (this.#digests.length === CONDEMNED_MAX) await this.end();
  }

  async end(): Promise<void> {
    if (this.#digests.length === 0) return;
    const time = new Date(this.#nowMs + this.#lists++).toISOString();
    await this.#store.put(`${CONDEMNED_FOLDER}${time}`, Buffer.concat(this.#digests));
    this.#digests = [];
  }
}

/** Several at once; the first failure ends it. */
class Deleter implements AsyncDisposable {
  readonly #store: ObjectStore;
  readonly #claim: SweepClaim;
  readonly #running = new Set<Promise<void>>();

  constructor(store: ObjectStore, claim: SweepClaim) {
    this.#store = store;
    this.#claim = claim;
  }

  async delete(key: string): Promise<void> {
    while (this.#running.size >= DELETIONS_MAX) await Promise.race(this.#running);
    this.#claim.assertHeld();
    const deletion = this.#store.delete(key);
    this.#running.add(deletion);
    const forget = (): void => void this.#running.delete(deletion);
    deletion.then(forget, () => {});
  }

  async end(): Promise<void> {
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#running);
  }
}
