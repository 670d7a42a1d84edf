/** Collects blocks of zeros into ranges that are sent as one request. */
import { ZERO_RANGES_MAX } from '../../common/protocol/protocol.ts';
import { rangesOf, type Range } from '../../common/ranges.ts';

/** If the receiver has to write the zeros, a slow disk takes seconds for this much. */
const BATCH_BYTES_START = 128 * 1024 * 1024;
const BATCH_BYTES_MIN = 16 * 1024 * 1024;
/** If it does not, a request of this size takes no time; more would only make the progress jump. */
const BATCH_BYTES_MAX = 16 * 1024 * 1024 * 1024;
const QUICK_MS = 1000;
const SLOW_MS = 5000;

export class ZeroBatches {
  readonly #blockSizeBytes: number;
  #batchBytes = BATCH_BYTES_START;
  #pending: number[] = [];

  constructor(blockSizeBytes: number) {
    this.#blockSizeBytes = blockSizeBytes;
  }

  /** @returns the ranges to send now, if this block has filled the batch. */
  add(index: number): Range[] | undefined {
    this.#pending.push(index);
    const isFull =
      this.#pending.length * this.#blockSizeBytes >= this.#batchBytes ||
      this.#pending.length >= ZERO_RANGES_MAX;
    return isFull ? this.takeAll() : undefined;
  }

  /** The rest, at the end. */
  takeAll(): Range[] {
    const ranges = rangesOf(this.#pending);
    this.#pending = [];
    return ranges;
  }

  /** Larger batches while they are quick, smaller ones when they are slow. */
  noteDuration(ms: number): void {
    if (ms < QUICK_MS) this.#batchBytes = Math.min(this.#batchBytes * 2, BATCH_BYTES_MAX);
    else if (ms > SLOW_MS) this.#batchBytes = Math.max(this.#batchBytes / 2, BATCH_BYTES_MIN);
  }
}
