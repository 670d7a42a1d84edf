/** A block in flight: on one lane or, when it is overdue, hedged on a second one. */
import { TransferError } from '../../common/errors.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';

/** A block is overdue when it takes this many times what as many bytes take. */
const OVERDUE_TIMES = 2;
/** Sooner, a second copy of the block is not worth its bytes on the line. */
const OVERDUE_MS_MIN = 2000;
/** Its current speed is measured over this time, which is longer than a timeout of TCP's. */
const RATE_MS = 2000;

interface Sample {
  readonly atMs: number;
  readonly acknowledgedBytes: number;
}

export interface InFlightOptions {
  readonly block: ReadBlock;
  readonly lane: ReceiverClient;
  /** Sent instead of the bytes of the block, on every lane. */
  readonly encoded: Buffer | undefined;
  readonly startMs: number;
  readonly signal: AbortSignal;
  /** No lane uses the block's bytes any more. */
  readonly onEnd: (block: InFlightBlock) => void;
}

export class InFlightBlock implements AsyncDisposable {
  readonly block: ReadBlock;
  readonly lane: ReceiverClient;
  readonly startMs: number;
  encoded: Buffer | undefined;
  /** Of the lane that has the block. */
  readonly signal: AbortSignal;
  /** No further lane may send it. */
  isHedged = false;
  readonly #onEnd: InFlightOptions['onEnd'];
  readonly #acknowledgedBefore: number;
  #attemptFrom: number;
  readonly #overtaken = new AbortController();
  readonly #ended = new AbortController();
  #hedge: Promise<void> | undefined;
  #isSettled = false;
  /** The first is the youngest that is older than {@link RATE_MS}. */
  readonly #samples: Sample[] = [];

  constructor({ block, lane, encoded, startMs, signal, onEnd }: InFlightOptions) {
    this.block = block;
    this.lane = lane;
    this.startMs = startMs;
    this.encoded = encoded;
    this.signal = AbortSignal.any([signal, this.#overtaken.signal]);
    this.#onEnd = onEnd;
    this.#acknowledgedBefore = this.#attemptFrom = lane.acknowledgedBytes;
  }

  /** Length of the body that is sent. */
  get wireBytes(): number {
    return (this.encoded ?? this.block.bytes).length;
  }

  /** Each attempt of its own lane sends the whole block again. */
  beginAttempt(): void {
    this.#attemptFrom = this.lane.acknowledgedBytes;
  }

  /** Of the block's own bytes, as of the last look at the lane. */
  get bytesArrived(): number {
    const share = (this.lane.acknowledgedBytes - this.#attemptFrom) / Math.max(1, this.wireBytes);
    return Math.min(1, share) * this.block.bytes.length;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** @returns whether this is the first result for the block: only that one counts. */
  settle(): boolean {
    const isFirst = !this.#isSettled;
    this.#isSettled = true;
    return isFirst;
  }

  async sample(nowMs: number): Promise<void> {
    await this.lane.refreshAcknowledged();
    const acknowledgedBytes = this.lane.acknowledgedBytes - this.#acknowledgedBefore;
    this.#samples.push({ atMs: nowMs, acknowledgedBytes });
    while ((this.#samples[1]?.atMs ?? nowMs) <= nowMs - RATE_MS) this.#samples.shift();
  }

  /** How long it still takes at its current speed: Infinity if it stands still, 0 if all has arrived. */
  remainingMs(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.atMs - first.atMs < RATE_MS) return 0;
    const leftBytes = Math.max(0, this.wireBytes - last.acknowledgedBytes);
    if (leftBytes === 0) return 0;
    const movedBytes = Math.max(0, last.acknowledgedBytes - first.acknowledgedBytes);
    return (leftBytes * (last.atMs - first.atMs)) / movedBytes;
  }

  /**
   * @param usualMs what as many bytes take at present. @returns whether it takes so much longer that a lane
   * that starts now would overtake it. If all bytes have arrived and no response comes, that is guessed.
   */
  isOverdue(usualMs: number, nowMs: number): boolean {
    const elapsedMs = nowMs - this.startMs;
    if (elapsedMs < OVERDUE_MS_MIN) return false;
    const remainingMs = this.remainingMs();
    const limitMs = OVERDUE_TIMES * usualMs;
    const isUnanswered = remainingMs === 0 && elapsedMs > limitMs;
    return elapsedMs + remainingMs > limitMs && (remainingMs > usualMs || isUnanswered);
  }

  /**
   * One request on another lane; if it fails, the block's own lane still has it.
   * @param request settles the block. @throws whatever is not a TransferError.
   */
  async hedge(signal: AbortSignal, request: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#hedge = promise;
    try {
      await request(AbortSignal.any([signal, this.#ended.signal]));
      if (this.#isSettled) this.#overtaken.abort(overtaken());
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
    } finally {
      this.#hedge = undefined;
      resolve();
    }
  }

  /** When it resolves, no other lane uses the bytes of the block, and none will. */
  async endHedge(): Promise<void> {
    this.isHedged = true;
    this.#ended.abort(overtaken());
    await this.#hedge;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endHedge();
    this.#onEnd(this);
  }
}

function overtaken(): TransferError {
  return new TransferError('interrupted', 'another lane was faster');
}
