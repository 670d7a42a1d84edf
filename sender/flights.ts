/**
 * Blocks on their way. Near the end lanes have nothing left to do while a slow one still sends: one of them
 * sends its block too, and the first receipt counts.
 */
import type { Clock } from '../common/clock.ts';
import { TransferError } from '../common/errors.ts';
import type { ReadBlock } from './read-block.ts';
import type { ReceiverClient } from './receiver-port.ts';

/** A block is late when it takes this many times what blocks take. */
const LATE_TIMES = 2;
/** Not worth a second copy of the block on the line. */
const LATE_MS_MIN = 2000;
/** What blocks take is the median of the last ones; fewer say nothing. */
const DURATIONS_MAX = 32;
const DURATIONS_MIN = 3;
const LOOK_INTERVAL_MS = 250;

/** One block on its way, on one lane or on two. */
export class Flight {
  readonly block: ReadBlock;
  readonly lane: ReceiverClient;
  readonly startMs: number;
  readonly #acknowledgedBefore: number;
  readonly #lost = new AbortController();
  readonly #first: AbortSignal;
  #helper: { readonly end: AbortController; readonly ended: Promise<void> } | undefined;
  #isWon = false;

  constructor(block: ReadBlock, lane: ReceiverClient, options: { startMs: number; signal: AbortSignal }) {
    this.block = block;
    this.lane = lane;
    this.startMs = options.startMs;
    this.#acknowledgedBefore = lane.acknowledgedBytes;
    this.#first = AbortSignal.any([options.signal, this.#lost.signal]);
  }

  /** Of the lane that has the block. */
  get signal(): AbortSignal {
    return this.#first;
  }

  get isWon(): boolean {
    return this.#isWon;
  }

  get hasHelper(): boolean {
    return this.#helper !== undefined;
  }

  /** To be asked with a receipt in hand, and at once before it is counted. @returns whether it is the first. */
  win(): boolean {
    if (this.#isWon) return false;
    this.#isWon = true;
    return true;
  }

  /** How long it will have taken, as far as can be told now. */
  expectedMs(nowMs: number): number {
    const elapsedMs = nowMs - this.startMs;
    const arrivedBytes = Math.max(1, this.lane.acknowledgedBytes - this.#acknowledgedBefore);
    return Math.max(elapsedMs, (elapsedMs * this.block.bytes.length) / arrivedBytes);
  }

  /**
   * @param usualMs what blocks take. @returns whether it takes so much longer that another lane that begins
   * now would be done before; where all has arrived and no answer came nobody knows.
   */
  isLate(usualMs: number, nowMs: number): boolean {
    const elapsedMs = nowMs - this.startMs;
    const expectedMs = this.expectedMs(nowMs);
    if (elapsedMs < LATE_MS_MIN || expectedMs < LATE_TIMES * usualMs) return false;
    return expectedMs - elapsedMs > usualMs || elapsedMs > LATE_TIMES * usualMs;
  }

  /**
   * One attempt on another lane. Its failure is nobody's business: the block has a lane that tries on.
   * @throws what is no TransferError.
   */
  async help(signal: AbortSignal, attempt: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const end = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#helper = { end, ended: promise };
    try {
      await attempt(AbortSignal.any([signal, end.signal]));
      if (this.#isWon) this.#lost.abort(new TransferError('interrupted', 'another lane was faster'));
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
    } finally {
      this.#helper = undefined;
      resolve();
    }
  }

  /** When it resolves nobody but the block's own lane uses its bytes. */
  async endHelper(): Promise<void> {
    this.#helper?.end.abort(new TransferError('interrupted', 'another lane was faster'));
    await this.#helper?.ended;
  }
}

export class Flights {
  readonly #clock: Clock;
  readonly #flights = new Set<Flight>();
  /** In milliseconds, of the last blocks; the oldest first. */
  readonly #durations: number[] = [];
  #landedMs = 0;
  #landed = Promise.withResolvers<void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds that blocks have been under way so far, all lanes together. */
  get sendingMs(): number {
    const nowMs = this.#clock.monotonicMs();
    let sum = this.#landedMs;
    for (const { startMs } of this.#flights) sum += nowMs - startMs;
    return sum;
  }

  /**
   * Sends a block on its lane; while that goes on others may help. Nobody uses its bytes any more when it has
   * settled.
   * @param send obeys the flight's signal, and asks it whether it has won. @throws as `send` does.
   */
  async fly(
    block: ReadBlock,
    options: { lane: ReceiverClient; signal: AbortSignal },
    send: (flight: Flight) => Promise<void>,
  ): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const flight = new Flight(block, options.lane, { startMs, signal: options.signal });
    this.#flights.add(flight);
    try {
      await send(flight);
      this.#durations.push(this.#clock.monotonicMs() - startMs);
      if (this.#durations.length > DURATIONS_MAX) this.#durations.shift();
    } catch (error) {
      // The helper's receipt has been counted; what ended this lane's attempt was that.
      if (!flight.isWon || options.signal.aborted) throw error;
    } finally {
      await flight.endHelper();
      this.#flights.delete(flight);
      this.#landedMs += this.#clock.monotonicMs() - startMs;
      this.#landed.resolve();
      this.#landed = Promise.withResolvers();
    }
  }

  /**
   * Waits for a block that is late.
   * @param hasWork ends the waiting. @returns undefined when there is work, or nothing under way.
   */
  async late(lane: ReceiverClient, signal: AbortSignal, hasWork: () => boolean): Promise<Flight | undefined> {
    while (this.#flights.size > 0 && !hasWork()) {
      await Promise.all(Array.from(this.#flights, async (flight) => await flight.lane.look()));
      const flight = this.#latest(lane);
      if (flight !== undefined) return flight;
      await this.#pause(signal);
    }
    return undefined;
  }

  #latest(lane: ReceiverClient): Flight | undefined {
    const sorted = this.#durations.toSorted((a, b) => a - b);
    const usualMs = sorted[Math.floor(sorted.length / 2)];
    if (usualMs === undefined || sorted.length < DURATIONS_MIN) return undefined;
    const nowMs = this.#clock.monotonicMs();
    let latest: Flight | undefined;
    for (const flight of this.#flights) {
      if (flight.isWon || flight.hasHelper || flight.lane === lane) continue;
      if (!flight.isLate(usualMs, nowMs)) continue;
      if (latest === undefined || flight.expectedMs(nowMs) > latest.expectedMs(nowMs)) latest = flight;
    }
    return latest;
  }

  /** Until a block has landed, or it is time to look again. */
  async #pause(signal: AbortSignal): Promise<void> {
    const end = new AbortController();
    const timeout = this.#clock.sleep(LOOK_INTERVAL_MS, AbortSignal.any([signal, end.signal]));
    try {
      await Promise.race([this.#landed.promise, timeout]);
    } finally {
      end.abort();
    }
  }
}
