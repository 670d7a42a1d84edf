/** Reproducible randomness: the same seed, the same numbers, on every machine. Not for secrets. */

export interface Prng {
  readonly seed: number;
  /** An integer in [0, 2^32). */
  next(): number;
  /** An integer in [0, n), each equally likely; n up to 2^53. */
  below(n: number): number;
  bytes(n: number): Buffer;
}

/**
 * sfc32 (Chris Doty-Humphrey, PractRand), started with splitmix32.
 * @param seed its lower 32 bits count.
 */
export function prng(seed: number): Prng {
  let mixed = seed | 0;
  const mix = (): number => {
    mixed = (mixed + 0x9e3779b9) | 0;
    let z = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let [a, b, c, counter] = [mix(), mix(), mix(), 1];
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  for (let round = 0; round < 12; round++) next();
  return { seed, next, below: (n) => below(n, next), bytes: (n) => bytes(n, next) };
}

function below(n: number, next: () => number): number {
  // The remainder of 2^53 values by n would favour small results: those past the last multiple are drawn
  // again.
  const limit = 2 ** 53 - (2 ** 53 % n);
  for (;;) {
    const value = (next() >>> 11) * 2 ** 32 + next();
    if (value < limit) return value % n;
  }
}

function bytes(n: number, next: () => number): Buffer {
  const words = new Uint32Array(Math.ceil(n / 4));
  for (let at = 0; at < words.length; at++) words[at] = next();
  return Buffer.from(words.buffer, 0, n);
}

/** $DDT_TEST_SEED, to repeat a failure, or a new one; to be printed by whoever uses it. */
export function freshSeed(): number {
  const wanted = process.env['DDT_TEST_SEED'];
  return wanted === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(wanted) >>> 0;
}
