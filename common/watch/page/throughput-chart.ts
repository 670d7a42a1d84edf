/** Throughput of disk and line over time, drawn by uPlot. */
import type UPlot from 'uplot';
import type { WatchPoint } from '../watch-status.ts';
import { colorOf, timeText } from './dom.ts';

/** Its own file defines it. */
declare const uPlot: typeof UPlot;

const HEIGHT = 190;
const BITS_PER_MBIT = 1e6 / 8;

/** As the messages have them. */
function timesOf(_plot: unknown, seconds: readonly number[]): string[] {
  return seconds.map((second) => timeText(second * 1000, second * 1000));
}

export class ThroughputChart {
  readonly #place: HTMLElement;
  readonly #points: [number[], number[], number[]] = [[], [], []];
  #plot: UPlot | undefined;

  constructor(place: HTMLElement) {
    this.#place = place;
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#width, height: HEIGHT })).observe(place);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#rebuild());
  }

  /** @param isAll they replace those before. */
  add(points: readonly WatchPoint[], isAll: boolean): void {
    if (points.length === 0 && !isAll) return;
    if (isAll) for (const list of this.#points) list.length = 0;
    for (const [seconds, disk, line] of points) {
      this.#points[0].push(seconds);
      this.#points[1].push(disk / BITS_PER_MBIT);
      this.#points[2].push(line / BITS_PER_MBIT);
    }
    if (this.#plot === undefined) this.#rebuild();
    else this.#plot.setData(this.#points);
  }

  get #width(): number {
    return Math.max(200, this.#place.clientWidth);
  }

  #rebuild(): void {
    this.#plot?.destroy();
    const axis = {
      stroke: colorOf('--soft'),
      grid: { stroke: colorOf('--line'), width: 1 },
      ticks: { stroke: colorOf('--line'), width: 1 },
    };
    const value = (_plot: UPlot, mbit: number | null): string => (mbit === null ? '–' : mbit.toFixed(1));
    this.#plot = new uPlot(
      {
        width: this.#width,
        height: HEIGHT,
        scales: { y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [
          { ...axis, values: timesOf, space: 80 },
          { ...axis, size: 58, values: (_plot, marks) => marks.map((mark) => String(mark)) },
        ],
        series: [
          {
            label: 'time',
            value: (_plot, seconds) => (seconds === null ? '–' : (timesOf(undefined, [seconds])[0] ?? '')),
          },
          { label: 'disk', stroke: colorOf('--disk'), width: 2, value, points: { show: false } },
          {
            label: 'line',
            stroke: colorOf('--wire'),
            width: 2,
            dash: [6, 3],
            value,
            points: { show: false },
          },
        ],
      },
      this.#points,
      this.#place,
    );
  }
}
