/**
 * What receivers and collections tell each other through the store: which transfers run, which chunks are
 * condemned, whether chunks are being deleted. docs/design/object-store.md says why that is enough.
 */
import { isRecord } from '../records.ts';
import type { Claim } from '../protocol/protocol.ts';
import type { ObjectStore } from './object-store.ts';

const DIGEST_BYTES = 32;
export const CONDEMNED_FOLDER = 'condemned/';
export const OPEN_FOLDER = 'open/';
export const PENDING_FOLDER = 'pending/';
export const SWEEP_KEY = 'sweep.json';
/** A collection renews its file every minute; one that has not done so for this long is dead. */
export const SWEEP_RENEWED_MS_MAX = 10 * 60_000;

/** Of a running transfer, written again every hour: its `Last-Modified` says whether it is alive. */
export interface OpenRecord {
  readonly transferId: string;
  /** By the service's clock, as `2026-11-29T14:30:00.000Z`. */
  readonly startedAt: string;
  /** null before a sender has claimed it. */
  readonly claim: Claim | null;
  /** Of a pipe: how many bytes it may have at most. */
  readonly sizeMax: number | null;
  readonly hasLeftOut: boolean;
  /** When its tickets were issued, in seconds since 1970. */
  readonly ticketIssuedAt: number;
}

export function openKey(name: string): string {
  return `${OPEN_FOLDER}${name}.json`;
}

/** While it is being sealed. */
export function pendingKey(name: string, transferId: string): string {
  return `${PENDING_FOLDER}${name}/${transferId}`;
}

export function encodeOpenRecord(record: OpenRecord): Buffer {
  return Buffer.from(`${JSON.stringify(record, null, 2)}\n`);
}

/** @returns undefined where there is none. @throws Error where it is damaged; S3Error. */
export async function readOpenRecord(store: ObjectStore, name: string): Promise<OpenRecord | undefined> {
  const bytes = await store.get(openKey(name));
  if (bytes === undefined) return undefined;
  const value = parseJson(bytes);
  const { transferId, startedAt, claim, sizeMax, hasLeftOut, ticketIssuedAt } = value;
  const isWhole =
    typeof transferId === 'string' &&
    typeof startedAt === 'string' &&
    (claim === null || isRecord(claim)) &&
    (sizeMax === null || typeof sizeMax === 'number') &&
    typeof hasLeftOut === 'boolean' &&
    typeof ticketIssuedAt === 'number';
  if (isWhole) return value as unknown as OpenRecord;
  throw new Error(`${openKey(name)} is damaged: remove it, which starts the transfer over`);
}

/** What `sweep.json` says. */
export interface Sweep {
  /** Of the collection; '' in a file that is damaged. */
  readonly id: string;
  /** How long ago it was renewed, by the service's clock. */
  readonly ageMs: number;
}

/** @returns undefined where there is none. @throws S3Error, Error. */
export async function readSweep(store: ObjectStore): Promise<Sweep | undefined> {
  // First: an answer that takes long must not make what was read before it look old.
  const nowMs = await store.nowMs();
  const bytes = await store.get(SWEEP_KEY);
  if (bytes === undefined) return undefined;
  const { id, renewedAt } = parseJson(bytes);
  const renewedMs = Date.parse(typeof renewedAt === 'string' ? renewedAt : '');
  // Damaged: it was being written when its writer was killed, and counts as long as any other.
  const sinceMs = Number.isNaN(renewedMs) ? await store.modifiedAtMs(SWEEP_KEY) : renewedMs;
  // It went in between.
  if (sinceMs === undefined) return undefined;
  return { id: typeof id === 'string' ? id : '', ageMs: nowMs - sinceMs };
}

/** Whether chunks are being deleted right now. @throws S3Error, Error. */
export async function isSweeping(store: ObjectStore): Promise<boolean> {
  const sweep = await readSweep(store);
  return sweep !== undefined && sweep.ageMs < SWEEP_RENEWED_MS_MAX;
}

/**
 * The lists of condemned chunks that this process has seen. One that is gone from the store still counts
 * here: its chunks may have been deleted in the meantime.
 */
export class CondemnedChunks {
  /** By key; in each of them digests in ascending order. */
  readonly #lists = new Map<string, Buffer>();

  has(digest: Buffer): boolean {
    for (const list of this.#lists.values()) if (isIn(list, digest)) return true;
    return false;
  }

  /** Reads the lists that are new. @returns whether there were any. @throws S3Error, Error. */
  async read(store: ObjectStore): Promise<boolean> {
    let hasNew = false;
    for await (const { key, sizeBytes } of store.list(CONDEMNED_FOLDER)) {
      if (this.#lists.has(key)) continue;
      const bytes = await store.getSized(key, sizeBytes);
      if (bytes === undefined) continue;
      this.#lists.set(key, sorted(bytes));
      hasNew = true;
    }
    return hasNew;
  }
}

/** They are written in this order; nothing depends on that. */
function sorted(bytes: Buffer): Buffer {
  const count = Math.floor(bytes.length / DIGEST_BYTES);
  const digests = Array.from({ length: count }, (_, at) => digestAt(bytes, at));
  if (digests.every((digest, at) => at === 0 || digestAt(bytes, at - 1).compare(digest) <= 0)) return bytes;
  return Buffer.concat(digests.toSorted((a, b) => a.compare(b)));
}

function isIn(list: Buffer, digest: Buffer): boolean {
  let [from, end] = [0, Math.floor(list.length / DIGEST_BYTES)];
  while (from < end) {
    const middle = Math.floor((from + end) / 2);
    const order = digestAt(list, middle).compare(digest);
    if (order === 0) return true;
    if (order < 0) from = middle + 1;
    else end = middle;
  }
  return false;
}

function digestAt(list: Buffer, at: number): Buffer {
  return list.subarray(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES);
}

function parseJson(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}
