/** A reading of the whole target that the receiver makes now, and how far it is. */
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import { ReadingProgress } from './reading-progress.ts';
import type { Retries } from './retry.ts';

/** Short enough for progress, long enough not to be a burden. */
const POLL_MS = 1000;

export interface TargetReadingParts {
  readonly control: ReceiverClient;
  readonly retries: Retries;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Of the target. */
  readonly blockCount: number;
}

export class TargetReading {
  readonly #parts: TargetReadingParts;
  #epoch: string | undefined;

  private constructor(parts: TargetReadingParts) {
    this.#parts = parts;
  }

  /** @throws TransferError `state-refused` where the receiver reads nothing back. */
  static async begin(parts: TargetReadingParts): Promise<TargetReading> {
    const reading = new TargetReading(parts);
    await reading.#begin();
    return reading;
  }

  async #begin(): Promise<void> {
    const { control, retries, signal } = this.#parts;
    const { epoch } = await retries.run(signal, async () => await control.verify(signal));
    this.#epoch = epoch;
  }

  /**
   * A receiver that was restarted has forgotten what it read, and the receipt of a sealed transfer would be
   * an old one.
   * @returns whether all of it is read once more, as this response came from another process.
   */
  async beginAgainAfter(epoch: string | undefined): Promise<boolean> {
    if (epoch === undefined || epoch === this.#epoch) return false;
    await this.#begin();
    return true;
  }

  /** @returns the status when there is nothing left to read. */
  async finish(onProgress: (status: TransferStatus) => void = () => {}): Promise<TransferStatus> {
    const { control, retries, clock, signal, blockCount } = this.#parts;
    const reading = new ReadingProgress(() => blockCount);
    for (;;) {
      const status = await retries.run(signal, async () => await control.transfer(signal));
      if (!(await this.beginAgainAfter(status.epoch))) {
        const { durable, written, verified } = status.blocks;
        onProgress(status);
        if (durable + written === 0) return status;
        if (reading.note(verified + status.differentCount)) retries.noteProgress();
      }
      retries.keepWaiting('is reading the target');
      await clock.sleep(POLL_MS, signal);
    }
  }
}

/** As {@link TargetReading.begin}; undefined where the receiver was started with `--verify none`. */
export async function beginIfRead(parts: TargetReadingParts): Promise<TargetReading | undefined> {
  try {
    return await TargetReading.begin(parts);
  } catch (error) {
    if (error instanceof TransferError && error.code === 'state-refused') return undefined;
    throw error;
  }
}
