/**
 * Blocks on their way. Near the end lanes have nothing left to do while a slow one still sends: one of them
 * sends its block too, and the first receipt counts.
 */
import type { Clock } from '../../common/clock.ts';
import { InFlightBlock } from './in-flight-block.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';

/** What a byte takes is the median of the last blocks: few, because it changes with the number of lanes. */
const TIMINGS_MAX = 9;
const TIMINGS_MIN = 3;
const LOOK_INTERVAL_MS = 250;

export class InFlightBlocks {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #blocks = new Set<InFlightBlock>();
  /** Milliseconds for a byte, of the last blocks, which may be encoded; the oldest first. */
  readonly #msPerByte: number[] = [];
  #settledMs = 0;
  #settled = Promise.withResolvers<void>();
  #looking: Promise<void> | undefined;

  /** @param signal ends everything. */
  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Milliseconds that blocks have been under way so far, all lanes together. */
  get sendingMs(): number {
    const nowMs = this.#clock.monotonicMs();
    let sum = this.#settledMs;
    for (const { startMs } of this.#blocks) sum += nowMs - startMs;
    return sum;
  }

  /**
   * Sends a block on its lane; while that goes on another may help. Nobody uses its bytes any more when it
   * has settled.
   * @param send obeys the flight's signal, and asks it whether it has won. @throws as `send` does.
   */
  async fly(
    { block, encoded }: { block: ReadBlock; encoded?: Buffer | undefined },
    lane: ReceiverClient,
    send: (flight: InFlightBlock) => Promise<void>,
  ): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const flight = new InFlightBlock(block, lane, { startMs, signal: this.#signal, encoded });
    this.#blocks.add(flight);
    try {
      await send(flight);
      this.#msPerByte.push((this.#clock.monotonicMs() - startMs) / flight.wireBytes);
      if (this.#msPerByte.length > TIMINGS_MAX) this.#msPerByte.shift();
    } catch (error) {
      // The helper's receipt has been counted; what ended this lane's attempt was that.
      if (!flight.isWon || this.#signal.aborted) throw error;
    } finally {
      await flight.endHelper();
      this.#blocks.delete(flight);
      this.#settledMs += this.#clock.monotonicMs() - startMs;
      this.#settled.resolve();
      this.#settled = Promise.withResolvers();
    }
  }

  /**
   * Waits for a block that is late.
   * @param hasWork ends the waiting. @returns undefined when there is work, or nothing under way; otherwise
   * it has to be helped.
   */
  async late(lane: ReceiverClient, hasWork: () => boolean): Promise<InFlightBlock | undefined> {
    while (this.#blocks.size > 0 && !hasWork()) {
      const flight = this.#latest(lane);
      if (flight !== undefined) {
        flight.isHelped = true;
        return flight;
      }
      this.#looking ??= this.#lookLater();
      await Promise.race([this.#settled.promise, this.#looking]);
    }
    return undefined;
  }

  #latest(lane: ReceiverClient): InFlightBlock | undefined {
    const sorted = this.#msPerByte.toSorted((a, b) => a - b);
    const usualMs = sorted[Math.floor(sorted.length / 2)];
    if (usualMs === undefined || sorted.length < TIMINGS_MIN) return undefined;
    const nowMs = this.#clock.monotonicMs();
    return Array.from(this.#blocks)
      .filter((flight) => !flight.isWon && !flight.isHelped && flight.lane !== lane)
      .filter((flight) => flight.isLate(usualMs * flight.wireBytes, nowMs))
      .toSorted((a, b) => b.remainingMs() - a.remainingMs() || a.startMs - b.startMs)[0];
  }

  /** One look for all who wait. */
  async #lookLater(): Promise<void> {
    try {
      await this.#clock.sleep(LOOK_INTERVAL_MS, this.#signal);
      const nowMs = this.#clock.monotonicMs();
      await Promise.all(Array.from(this.#blocks, async (flight) => await flight.look(nowMs)));
    } finally {
      this.#looking = undefined;
    }
  }
}
