/** How a source and a target differ from what is recorded of them. */
import { MISSING_RANGES_MAX, type LeftOut } from '../../common/protocol/protocol.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { Range } from '../../common/ranges.ts';

export interface Differences {
  readonly count: number;
  /** The first of them, not more than `MISSING_RANGES_MAX` ranges. */
  readonly ranges: readonly Range[];
}

export interface Comparison {
  readonly blocksTotal: number;
  readonly bytesTotal: number;
  readonly blockSizeBytes: number;
  /** Blocks of the source that are not what was recorded. */
  readonly source: Differences;
  /** Blocks of the target that are not what was recorded; undefined: the target was not read. */
  readonly target: Differences | undefined;
  /** Blocks that were never on the target. */
  readonly missing: Differences;
  readonly isSealed: boolean;
  /** How the target was read back, if it is equal; null: nothing says it. */
  readonly readBack: ReadBackMethod | null;
  /** What this run has left out of the source: its zeros were compared with the target. */
  readonly leftOut: LeftOut | null;
}

export const NO_DIFFERENCES: Differences = { count: 0, ranges: [] };

export function differencesIn(blocks: {
  readonly count: number;
  ranges(most: number): readonly Range[];
}): Differences {
  return { count: blocks.count, ranges: blocks.ranges(MISSING_RANGES_MAX) };
}

/** Read back, and nothing differs. */
export function isEqual({ source, target, missing }: Comparison): boolean {
  return source.count + missing.count === 0 && target?.count === 0;
}
