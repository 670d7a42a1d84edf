/** What a few measurements of a fluctuating line allow to conclude. Pure. */

/** Neighbouring samples are alike, as TCP's window is: they say less than independent ones. */
const ALIKE = 1.5;
/** No line is steadier than this, whatever a few equal samples say. */
const ERROR_MIN = 0.005;

export interface Summary {
  readonly mean: number;
  /** Standard error of the mean. */
  readonly error: number;
}

/** Of two means, with its standard error. */
export interface Ratio {
  readonly value: number;
  readonly error: number;
}

export function summaryOf(samples: readonly number[]): Summary {
  const count = samples.length;
  if (count === 0) return { mean: 0, error: 0 };
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / count;
  if (count === 1) return { mean, error: mean };
  const squares = samples.reduce((sum, sample) => sum + (sample - mean) ** 2, 0);
  const error = (Math.sqrt(squares / (count - 1)) / Math.sqrt(count)) * ALIKE;
  return { mean, error: Math.max(error, mean * ERROR_MIN) };
}

/** @param base not empty, and not all zero. */
export function ratioOf(samples: readonly number[], base: readonly number[]): Ratio {
  const now = summaryOf(samples);
  const before = summaryOf(base);
  const value = now.mean / before.mean;
  // First-order propagation of independent errors.
  const relative = Math.hypot(now.error / Math.max(now.mean, 1), before.error / before.mean);
  return { value, error: value * relative };
}
