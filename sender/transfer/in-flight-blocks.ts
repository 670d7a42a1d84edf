/**
 * Blocks on their way. Near the end lanes have nothing left to do while a slow one still sends: one of them
 * sends its block too, and the first receipt counts.
 */
import type { Clock } from '../../common/clock.ts';
import { Flight } from './in-flight-block.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';

/** What a byte takes is the median of the last blocks: few, because it changes with the number of lanes. */
const PACES_MAX = 9;
const PACES_MIN = 3;
const LOOK_INTERVAL_MS = 250;

export class Flights {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #flights = new Set<Flight>();
  /** Milliseconds for a byte, of the last blocks, which may be encoded; the oldest first. */
  readonly #paces: number[] = [];
  #landedMs = 0;
  #landed = Promise.withResolvers<void>();
  #looking: Promise<void> | undefined;

  /** @param signal ends everything. */
  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Milliseconds that blocks have been under way so far, all lanes together. */
  get sendingMs(): number {
    const nowMs = this.#clock.monotonicMs();
    let sum = this.#landedMs;
    for (const { startMs } of this.#flights) sum += nowMs - startMs;
    return sum;
  }

  get bytesArrived(): number {
    return Array.from(this.#flights).reduce((sum, flight) => sum + flight.bytesArrived, 0);
  }

  /**
   * Sends a block on its lane; while that goes on another may help. Nobody uses its bytes any more when it
   * has settled.
   * @param send obeys the flight's signal, and asks it whether it has won. @throws as `send` does.
   */
  async fly(
    { block, encoded }: { block: ReadBlock; encoded?: Buffer | undefined },
    lane: ReceiverClient,
    send: (flight: Flight) => Promise<void>,
  ): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const flight = new Flight(block, lane, { startMs, signal: this.#signal, encoded });
    this.#flights.add(flight);
    try {
      await send(flight);
      this.#paces.push((this.#clock.monotonicMs() - startMs) / flight.wireBytes);
      if (this.#paces.length > PACES_MAX) this.#paces.shift();
    } catch (error) {
      // The helper's receipt has been counted; what ended this lane's attempt was that.
      if (!flight.isWon || this.#signal.aborted) throw error;
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
   * @param hasWork ends the waiting. @returns undefined when there is work, or nothing under way; otherwise
   * it has to be helped.
   */
  async late(lane: ReceiverClient, hasWork: () => boolean): Promise<Flight | undefined> {
    while (this.#flights.size > 0 && !hasWork()) {
      const flight = this.#latest(lane);
      if (flight !== undefined) {
        flight.isHelped = true;
        return flight;
      }
      this.#looking ??= this.#lookLater();
      await Promise.race([this.#landed.promise, this.#looking]);
    }
    return undefined;
  }

  #latest(lane: ReceiverClient): Flight | undefined {
    const sorted = this.#paces.toSorted((a, b) => a - b);
    const usualMs = sorted[Math.floor(sorted.length / 2)];
    if (usualMs === undefined || sorted.length < PACES_MIN) return undefined;
    const nowMs = this.#clock.monotonicMs();
    return Array.from(this.#flights)
      .filter((flight) => !flight.isWon && !flight.isHelped && flight.lane !== lane)
      .filter((flight) => flight.isLate(usualMs * flight.wireBytes, nowMs))
      .toSorted((a, b) => b.remainingMs() - a.remainingMs() || a.startMs - b.startMs)[0];
  }

  /** One look for all who wait. */
  async #lookLater(): Promise<void> {
    try {
      await this.#clock.sleep(LOOK_INTERVAL_MS, this.#signal);
      const nowMs = this.#clock.monotonicMs();
      await Promise.all(Array.from(this.#flights, async (flight) => await flight.look(nowMs)));
    } finally {
      this.#looking = undefined;
    }
  }
}
