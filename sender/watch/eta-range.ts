/** How sure the estimate of the end is: what it would be in the better and the worse times of late. Pure. */
import { formatDuration } from '../../common/units.ts';
import type { WatchEta } from '../../common/watch/watch-status.ts';

/** Each rate is that of so many seconds, which several blocks take. */
const SPAN_MS = 10_000;
/** Ten minutes. */
const RATES_MAX = 60;
const RATES_MIN = 4;
/** Of ten rates the best and the worst are left out. */
const TAIL_SHARE = 0.1;
/** So near, a range is of no use. */
const NEAR_MS = 20_000;

export class EtaRange {
  #start: { readonly atMs: number; readonly bytes: number } | undefined;
  readonly #rates: number[] = [];

  /** Call it about once a second. @param isHeld there is an outage, which says nothing about the rate. */
  add(nowMs: number, bytes: number, isHeld: boolean): void {
    const start = this.#start;
    if (isHeld || start === undefined || bytes < start.bytes) {
      this.#start = { atMs: nowMs, bytes };
      return;
    }
    if (nowMs - start.atMs < SPAN_MS) return;
    this.#rates.push((bytes - start.bytes) / (nowMs - start.atMs));
    if (this.#rates.length > RATES_MAX) this.#rates.shift();
    this.#start = { atMs: nowMs, bytes };
  }

  eta(secondsLeft: number, bytesLeft: number): WatchEta {
    const text = formatDuration(secondsLeft * 1000);
    if (secondsLeft * 1000 < NEAR_MS) return { text, range: '' };
    const rates = this.#rates.filter((rate) => rate > 0).toSorted((one, other) => one - other);
    if (rates.length < RATES_MIN) return { text, range: 'too early to say how sure that is' };
    const at = Math.floor(rates.length * TAIL_SHARE);
    const [slow = 1, fast = 1] = [rates[at], rates.at(-1 - at)];
    const soonestMs = Math.min(bytesLeft / fast, secondsLeft * 1000);
    const latestMs = Math.max(bytesLeft / slow, secondsLeft * 1000);
    const range = `${formatDuration(soonestMs)} to ${formatDuration(latestMs)}`;
    return { text, range: `${range} at its best and worst rates of late` };
  }
}
