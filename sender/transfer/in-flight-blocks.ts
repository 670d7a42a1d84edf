/**
 * The blocks in flight. Near the end lanes have nothing left to do while a slow one is still sending: one of
 * them sends its block as well (a hedged request), and the first result counts.
 */
import type { Clock } from '../../common/clock.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import { InFlightBlock, type InFlightOptions } from './in-flight-block.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';

/** The time of a byte is the median of the last blocks: few, because it changes with the number of lanes. */
const TIMINGS_MAX = 9;
const TIMINGS_MIN = 3;
const LOOK_INTERVAL_MS = 250;

export class InFlightBlocks {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #blocks = new Set<InFlightBlock>();
  /** Milliseconds for a byte on the line, of the last blocks, oldest first. */
  readonly #msPerByte: number[] = [];
  #endedMs = 0;
  #ended = Promise.withResolvers<void>();
  readonly #look: SingleFlight<void>;

  /** @param signal ends everything. */
  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    this.#look = new SingleFlight(async () => await this.#lookLater());
  }

  get count(): number {
    return this.#blocks.size;
  }

  /** Milliseconds that blocks have been in flight so far, summed over all lanes. */
  get sendingMs(): number {
    const nowMs = this.#clock.monotonicMs();
    let sum = this.#endedMs;
    for (const { startMs } of this.#blocks) sum += nowMs - startMs;
    return sum;
  }

  /** Those of which all bytes have arrived, as of the last look at their lanes. */
  get arrivedCount(): number {
    return Array.from(this.#blocks).filter((block) => block.bytesArrived >= block.block.bytes.length).length;
  }

  get bytesArrived(): number {
    return Array.from(this.#blocks).reduce((sum, block) => sum + block.bytesArrived, 0);
  }

  /**
   * Registers a block that is in flight, and may be hedged. Once it is disposed, nobody uses its bytes.
   */
  add(added: Pick<InFlightOptions, 'block' | 'lane' | 'encoded'>): InFlightBlock {
    const startMs = this.#clock.monotonicMs();
    const onEnd = (block: InFlightBlock): void => {
      this.#blocks.delete(block);
      this.#endedMs += this.#clock.monotonicMs() - startMs;
      this.#ended.resolve();
      this.#ended = Promise.withResolvers();
    };
    const inFlight = new InFlightBlock({ ...added, startMs, signal: this.#signal, onEnd });
    this.#blocks.add(inFlight);
    return inFlight;
  }

  /** Its own lane has a result. */
  noteWritten({ startMs, wireBytes }: InFlightBlock): void {
    this.#msPerByte.push((this.#clock.monotonicMs() - startMs) / wireBytes);
    if (this.#msPerByte.length > TIMINGS_MAX) this.#msPerByte.shift();
  }

  /**
   * Waits for an overdue block of another lane.
   * @param hasWork ends the waiting. @returns undefined if there is work, or nothing in flight; otherwise a
   * block that has to be hedged.
   */
  async nextOverdue(lane: ReceiverClient, hasWork: () => boolean): Promise<InFlightBlock | undefined> {
    while (this.#blocks.size > 0 && !hasWork()) {
      const block = this.#mostOverdue(lane);
      if (block !== undefined) {
        block.isHedged = true;
        return block;
      }
      await Promise.race([this.#ended.promise, this.#look.run()]);
    }
    return undefined;
  }

  #mostOverdue(lane: ReceiverClient): InFlightBlock | undefined {
    const sorted = this.#msPerByte.toSorted((a, b) => a - b);
    const usualMs = sorted[Math.floor(sorted.length / 2)];
    if (usualMs === undefined || sorted.length < TIMINGS_MIN) return undefined;
    const nowMs = this.#clock.monotonicMs();
    return Array.from(this.#blocks)
      .filter((block) => !block.isSettled && !block.isHedged && block.lane !== lane)
      .filter((block) => block.isOverdue(usualMs * block.wireBytes, nowMs))
      .toSorted((a, b) => b.remainingMs() - a.remainingMs() || a.startMs - b.startMs)[0];
  }

  async #lookLater(): Promise<void> {
    await this.#clock.sleep(LOOK_INTERVAL_MS, this.#signal);
    const nowMs = this.#clock.monotonicMs();
    await Promise.all(Array.from(this.#blocks, async (block) => await block.sample(nowMs)));
  }
}
