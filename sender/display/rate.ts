/** Throughput over a sliding window, and the time that is left. Pure. */

/** Half a minute smooths block-sized steps and still follows the line. */
const WINDOW_MS = 30_000;

export class RateMeter {
  readonly #samples: { atMs: number; total: number }[] = [];
  readonly #windowMs: number;

  constructor(windowMs = WINDOW_MS) {
    this.#windowMs = windowMs;
  }

  /** @param total in bytes; it may shrink, where blocks are found missing after all. */
  add(atMs: number, total: number): void {
    this.#samples.push({ atMs, total });
    while (this.#samples.length > 2 && (this.#samples[1]?.atMs ?? atMs) < atMs - this.#windowMs)
      this.#samples.shift();
  }

  /** Bytes a second over the window; 0 before there are two samples, and where the total has shrunk. */
  get bytesPerSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return (Math.max(0, last.total - first.total) * 1000) / (last.atMs - first.atMs);
  }

  /** Seconds until `left` bytes are through; null while that can't be told. */
  secondsLeft(left: number): number | null {
    const rate = this.bytesPerSecond;
    if (left <= 0) return 0;
    return rate > 0 ? Math.ceil(left / rate) : null;
  }
}
