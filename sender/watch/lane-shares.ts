/** Who the lanes have waited for lately, in words: the bottleneck. Pure. */
import type { WatchBottleneck } from '../../common/watch/watch-status.ts';
import type { LaneWaits } from '../transfer/block-notes.ts';

/** Half a minute smooths bursts and still follows a change. */
const SAMPLES_MAX = 30;
const SAMPLES_MIN = 5;
/** This process has no time left. */
const BUSY_SHARE = 0.9;
/** So near to the limit of `--bwlimit`, the limit decides. */
const LIMIT_SHARE = 0.9;

export interface LaneSample {
  readonly waits: LaneWaits;
  /** Of the only thread that serves all lanes: the share of time that it was busy. */
  readonly busyShare: number;
  readonly lineBytesPerSecond: number;
  readonly limitBytesPerSecond: number | undefined;
}

const TEXTS: Readonly<Record<keyof LaneWaits, string>> = {
  source: 'The source is the slowest part: the lanes mostly wait for blocks to be read.',
  processor: 'The processor is the slowest part: the lanes mostly wait for blocks to be compressed.',
  line: 'The line is the slowest part: the lanes mostly wait for bytes to get through.',
  target: 'The target is the slowest part: the lanes mostly wait for it to take what has arrived.',
};

export class LaneShares {
  readonly #samples: LaneSample[] = [];

  add(sample: LaneSample): void {
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /** null: it is too early to say. */
  get bottleneck(): WatchBottleneck | null {
    const sumOf = (who: keyof LaneWaits): number =>
      this.#samples.reduce((sum, { waits }) => sum + waits[who], 0);
    const sums = (['source', 'processor', 'line', 'target'] as const).map(
      (who) => [who, sumOf(who)] as const,
    );
    const total = sums.reduce((sum, [, count]) => sum + count, 0);
    const [most] = sums.toSorted(([, one], [, other]) => other - one);
    if (this.#samples.length < SAMPLES_MIN || total === 0 || most === undefined) return null;
    const shares = sums.map(([who, count]) => [who, Math.round((count * 100) / total)] as const);
    const text = this.#overruled() ?? TEXTS[most[0]];
    return { text: `${text} What they waited for in the last half minute:`, shares };
  }

  #overruled(): string | undefined {
    const last = this.#samples.at(-1);
    const limit = last?.limitBytesPerSecond;
    if (last !== undefined && limit !== undefined && last.lineBytesPerSecond >= limit * LIMIT_SHARE)
      return 'The limit that was set (--bwlimit) is what slows it down.';
    const busy = this.#samples.reduce((sum, { busyShare }) => sum + busyShare, 0) / this.#samples.length;
    if (busy < BUSY_SHARE) return undefined;
    const percent = Math.round(busy * 100);
    return `The processor is the slowest part: ddt-send itself is busy ${percent} % of the time.`;
  }
}
