/**
 * `--compress auto`: which level pays. The slower of two decides the rate of a transfer: the processor that
 * encodes, or the line that carries what is left. A pure function from observations to a level.
 */

/** 0 is plain. */
export const LEVELS = [0, 1, 2, 3, 5, 7, 9] as const;
export type Level = (typeof LEVELS)[number];

interface LevelCost {
  /** Speed relative to level 1. */
  readonly speed: number;
  /** Encoded size relative to level 1. */
  readonly size: number;
}

/** Measured. How they differ on this machine and disk is learned as one factor for all levels. */
export const LEVEL_COSTS: Readonly<Record<Exclude<Level, 0>, LevelCost>> = {
  1: { speed: 1, size: 1 },
  2: { speed: 0.9, size: 0.93 },
  3: { speed: 0.72, size: 0.88 },
  5: { speed: 0.55, size: 0.84 },
  7: { speed: 0.39, size: 0.8 },
  9: { speed: 0.31, size: 0.78 },
};

/** This part of the cores encodes; the rest reads, hashes and encrypts. */
const CORES_PART = 0.7;
/** The least gain for a higher level, and for encoding at all: estimates are no better than that. */
const GAIN_MIN = 1.02;
const GAIN_MIN_OVER_PLAIN = 1.05;
/**
 * The same where the processor is the limit: it sends as well, so that a plain block among encoded ones says
 * too little about plain blocks alone.
 */
const GAIN_MIN_OF_PROCESSOR = 1.25;

export interface Observed {
  /** The current level; the next one is a neighbour, so that one odd measurement does little harm. */
  readonly level: Level;
  /** Encoded bytes for each plain byte, at level 1. */
  readonly share: number;
  /** Plain bytes that one core encodes in a second at level 1, including decoding and comparing. */
  readonly encodeBytesPerSecond: number;
  /** Cores that can encode at once. */
  readonly cores: number;
  /** Bytes a second on the line while all lanes send; undefined before anything was sent. */
  readonly lineBytesPerSecond: number | undefined;
}

/** @returns the level for the next block. */
export function chooseLevel(observed: Observed): Level {
  const { level, lineBytesPerSecond } = observed;
  const at = LEVELS.indexOf(level);
  if (lineBytesPerSecond === undefined) return 1;
  let best: Level = LEVELS[Math.max(0, at - 1)] ?? 0;
  for (const candidate of LEVELS.slice(at === 0 ? 1 : at, at + 2)) {
    const gain = plainRateAt(candidate, observed) / plainRateAt(best, observed);
    const gainMin = best === 0 ? gainMinOverPlain(candidate, observed) : GAIN_MIN;
    if (gain > gainMin) best = candidate;
  }
  return best;
}

function gainMinOverPlain(level: Level, observed: Observed): number {
  const onEndlessLine = plainRateAt(level, { ...observed, lineBytesPerSecond: Infinity });
  return plainRateAt(level, observed) < onEndlessLine ? GAIN_MIN_OVER_PLAIN : GAIN_MIN_OF_PROCESSOR;
}

/** Plain bytes a second that processor and line allow. */
export function plainRateAt(level: Level, observed: Observed): number {
  const { lineBytesPerSecond = 0, encodeBytesPerSecond, cores, share } = observed;
  if (level === 0) return lineBytesPerSecond;
  const { speed, size } = LEVEL_COSTS[level];
  return Math.min(cores * CORES_PART * encodeBytesPerSecond * speed, lineBytesPerSecond / (share * size));
}
