/** The messages and the course of the throughput, as far as a page that is opened later needs them. */
import type { WatchLevel, WatchMessage, WatchPoint } from './watch-status.ts';

const MESSAGES_MAX = 500;
/** More than a chart has pixels for is halved. */
const POINTS_MAX = 1200;
const TEXT_LENGTH_MAX = 2000;

/** What a client has had. */
export interface LogPosition {
  messages: number;
  points: number;
  /** How often the points have been halved. */
  halvings: number;
}

export class WatchLog {
  readonly #messages: WatchMessage[] = [];
  #dropped = 0;
  #points: WatchPoint[] = [];
  #halvings = 0;
  /** Ticks that the next point is the mean of. */
  #pending: WatchPoint[] = [];

  add(atMs: number, level: WatchLevel, text: string): void {
    const line = text.trim().replaceAll('\n', ' · ').slice(0, TEXT_LENGTH_MAX);
    this.#messages.push({ atMs, level, text: line });
    if (this.#messages.length <= MESSAGES_MAX) return;
    // Warnings stay longer than what was only said.
    const at = this.#messages.findIndex((message) => message.level === 'info');
    this.#messages.splice(Math.max(0, at), 1);
    this.#dropped++;
  }

  /** To be called once a second. */
  point(point: WatchPoint): void {
    this.#pending.push(point);
    if (this.#pending.length < 2 ** this.#halvings) return;
    this.#points.push(meanOf(this.#pending));
    this.#pending = [];
    if (this.#points.length < POINTS_MAX) return;
    const halved: WatchPoint[] = [];
    for (let at = 0; at + 1 < this.#points.length; at += 2)
      halved.push(meanOf(this.#points.slice(at, at + 2)));
    this.#points = halved;
    this.#halvings++;
  }

  /** What is new since a position, which is moved. */
  since(position: LogPosition): {
    messages: WatchMessage[];
    points: WatchPoint[];
    isAllPoints: boolean;
  } {
    const total = this.#dropped + this.#messages.length;
    const messages = this.#messages.slice(Math.max(0, this.#messages.length - (total - position.messages)));
    position.messages = total;
    const isAllPoints = position.halvings !== this.#halvings;
    const points = this.#points.slice(isAllPoints ? 0 : position.points);
    position.points = this.#points.length;
    position.halvings = this.#halvings;
    return { messages, points, isAllPoints };
  }
}

function meanOf(points: readonly WatchPoint[]): WatchPoint {
  const mean = (at: 0 | 1 | 2): number =>
    points.reduce((sum, point) => sum + point[at], 0) / Math.max(1, points.length);
  return [mean(0), mean(1), mean(2)];
}
