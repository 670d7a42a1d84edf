/** Throughput over a sliding window. Pure. */

/** Half a minute smooths bursts and still follows the line. */
const WINDOW_MS = 30_000;

export class RateMeter {
  readonly #samples: { atMs: number; total: number }[] = [];
  readonly #windowMs: number;

  constructor(windowMs = WINDOW_MS) {
    this.#windowMs = windowMs;
  }

  /** @param total in bytes; it may shrink, when blocks turn out to be missing. */
  add(atMs: number, total: number): void {
    this.#samples.push({ atMs, total });
    while (this.#samples.length > 2 && (this.#samples[1]?.atMs ?? atMs) < atMs - this.#windowMs)
      this.#samples.shift();
  }

  /** Over the window; 0 before there are two samples, and when the total has shrunk. */
  get bytesPerSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return (Math.max(0, last.total - first.total) * 1000) / (last.atMs - first.atMs);
  }
}
