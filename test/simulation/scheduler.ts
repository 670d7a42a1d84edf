/**
 * Virtual time. Everything that takes time, on the disk, on the line, in a sleep, is an event here; the next
 * one runs when the previous one has nothing left to do, so that the seed alone determines the order of
 * events.
 */
import assert from 'node:assert/strict';
import type { Clock } from '../../common/clock.ts';
import type { Random } from './random.ts';

/** A process of one of the two machines. Once it is dead, nothing that it waits for arrives. */
export class SimProcess {
  readonly name: string;
  isAlive = true;
  /** Stopped (SIGSTOP) until then. */
  pausedUntilMs = 0;

  constructor(name: string) {
    this.name = name;
  }
}

export interface SimEvent {
  atMs: number;
  /** Orders events of the same time; random. */
  readonly order: number;
  /** undefined for events of the disk or the line, which outlive processes. */
  readonly owner: SimProcess | undefined;
  readonly label: string;
  action(): void;
  isCancelled: boolean;
}

/** Label and up to two numbers of the event. */
export type TraceListener = (atMs: number, label: string, a: number, b: number) => void;

export class Scheduler {
  nowMs = 0;
  eventCount = 0;
  readonly #random: Random;
  readonly #onTrace: TraceListener | undefined;
  readonly #eventsATurn: number;
  /** The next one is the last. */
  readonly #events: SimEvent[] = [];
  #high = 0x811c9dc5;
  #low = 0x9dc5811c;

  /**
   * @param options.eventsATurn after so many events the event loop turns once, and rejections that nothing
   * has handled by then surface; with 1 as soon as in a real process. More is faster; nothing else depends on
   * it.
   */
  constructor(random: Random, options: { eventsATurn: number; onTrace: TraceListener | undefined }) {
    this.#random = random;
    this.#onTrace = options.onTrace;
    this.#eventsATurn = options.eventsATurn;
  }

  after(delayMs: number, owner: SimProcess | undefined, label: string, action: () => void): SimEvent {
    assert(delayMs >= 0);
    const event = {
      atMs: this.nowMs + delayMs,
      order: this.#random.next(),
      owner,
      label,
      action,
      isCancelled: false,
    };
    this.#insert(event);
    return event;
  }

  /** Resolves after the delay; never if its process is dead by then. */
  async pause(delayMs: number, owner: SimProcess | undefined, label: string): Promise<void> {
    await new Promise<void>((resolve) => this.after(delayMs, owner, label, resolve));
  }

  /** Adds the event to the digest of the run. */
  trace(label: string, a = 0, b = 0): void {
    this.#mix(label.charCodeAt(0) * 256 + label.charCodeAt(label.length - 1) + label.length * 65536);
    this.#mix(a);
    this.#mix(b);
    this.#onTrace?.(this.nowMs, label, a, b);
  }

  /** Equal for two runs with the same events in the same order. */
  get traceDigest(): string {
    const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }

  /**
   * Runs one event after the other until `isDone` or until there is none. Between two events everything
   * settles that does not wait for a third one: `nextTick` comes after all microtasks.
   * @param afterEach called when everything has settled.
   */
  async run(isDone: () => boolean, afterEach: (event: SimEvent) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let last: SimEvent | undefined;
    const step = (): void => {
      try {
        if (last !== undefined) afterEach(last);
        last = isDone() ? undefined : this.#next();
        if (last === undefined) return resolve();
        this.#start(last);
        if (this.eventCount % this.#eventsATurn === 0) setImmediate(step);
        else queueMicrotask(() => process.nextTick(step));
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    };
    setImmediate(step);
    await promise;
  }

  #start(event: SimEvent): void {
    this.nowMs = event.atMs;
    this.eventCount++;
    this.#mix(Math.round(event.atMs * 1000));
    this.trace(event.label);
    event.action();
  }

  #next(): SimEvent | undefined {
    for (let event = this.#events.pop(); event !== undefined; event = this.#events.pop()) {
      if (event.isCancelled || event.owner?.isAlive === false) continue;
      const wakeMs = event.owner?.pausedUntilMs ?? 0;
      if (wakeMs <= event.atMs) return event;
      event.atMs = wakeMs;
      this.#insert(event);
    }
    return undefined;
  }

  #insert(event: SimEvent): void {
    let low = 0;
    for (let high = this.#events.length; low < high;) {
      const middle = (low + high) >>> 1;
      const other = this.#events[middle];
      const isLater =
        other !== undefined &&
        (other.atMs > event.atMs || (other.atMs === event.atMs && other.order > event.order));
      if (isLater) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  #mix(value: number): void {
    this.#high = Math.imul(this.#high ^ value, 0x01000193) ^ (this.#low >>> 13);
    this.#low = Math.imul(this.#low ^ value, 0x85ebca6b) ^ (this.#high >>> 11);
  }
}

/** The clock of one process. */
export function clockOf(scheduler: Scheduler, owner: SimProcess): Clock {
  return {
    monotonicMs: () => scheduler.nowMs,
    wallMs: () => 1_800_000_000_000 + Math.floor(scheduler.nowMs),
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const stop = (): void => {
        event.isCancelled = true;
        const reason: unknown = signal?.reason;
        reject(reason instanceof Error ? reason : new Error(String(reason)));
      };
      const event = scheduler.after(Math.max(0, ms), owner, 'wake', () => {
        signal?.removeEventListener('abort', stop);
        resolve();
      });
      signal?.addEventListener('abort', stop, { once: true });
      await promise;
    },
  };
}
