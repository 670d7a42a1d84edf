/** What a collection does with a chunk. docs/design/object-store.md says why that is safe. Pure. */

/** What nothing refers to is deleted this long after it was condemned. */
export const GRACE_MS = 24 * 3_600_000;

export interface ChunkFacts {
  /** A manifest, sealed or pending, has its digest. */
  readonly isReferenced: boolean;
  /** By the service's clock. */
  readonly modifiedAtMs: number;
  /** When the last list was written that condemns it, by the same clock; undefined: none does. */
  readonly condemnedAtMs: number | undefined;
}

export interface CollectionTimes {
  readonly nowMs: number;
  readonly graceMs: number;
  /** Of the oldest running transfer; Infinity where none runs. */
  readonly oldestStartMs: number;
}

/**
 * `young`: nothing refers to it yet, and something may, soon; `waits`: it is condemned, and its time has not
 * come.
 */
export type Fate = 'keep' | 'young' | 'condemn' | 'waits' | 'delete';

export function fateOf(chunk: ChunkFacts, { nowMs, graceMs, oldestStartMs }: CollectionTimes): Fate {
  const { isReferenced, modifiedAtMs, condemnedAtMs } = chunk;
  if (isReferenced) return 'keep';
  // One that was stored again since is wanted by somebody.
  if (condemnedAtMs !== undefined && modifiedAtMs < condemnedAtMs) {
    return isDue(condemnedAtMs, { nowMs, graceMs }) ? 'delete' : 'waits';
  }
  return modifiedAtMs < Math.min(nowMs - graceMs, oldestStartMs) ? 'condemn' : 'young';
}

/** Whether what was condemned at that time may be deleted. */
export function isDue(
  condemnedAtMs: number,
  { nowMs, graceMs }: Pick<CollectionTimes, 'nowMs' | 'graceMs'>,
): boolean {
  return condemnedAtMs <= nowMs - graceMs;
}
