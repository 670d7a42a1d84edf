/** One block on its way, on one lane or, when it is late, on two. */
import { TransferError } from '../../common/errors.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';

/** A block is late when it takes this many times what as many bytes take. */
const LATE_TIMES = 2;
/** Not worth a second copy of the block on the line. */
const LATE_MS_MIN = 2000;
/** How fast it goes now is told from so long: a timeout of TCP's is shorter. */
const RATE_MS = 2000;

interface Look {
  readonly atMs: number;
  readonly arrivedBytes: number;
}

export interface InFlightBlockOptions {
  readonly startMs: number;
  readonly signal: AbortSignal;
  readonly encoded?: Buffer | undefined;
}

export class InFlightBlock {
  readonly block: ReadBlock;
  readonly lane: ReceiverClient;
  readonly startMs: number;
  /** What is sent in place of the block's bytes, on every lane; the flight's own. */
  encoded: Buffer | undefined;
  /** Of the lane that has the block. */
  readonly signal: AbortSignal;
  /** Another lane has it, too, or is about to. */
  isHelped = false;
  readonly #arrivedBefore: number;
  readonly #lost = new AbortController();
  readonly #end = new AbortController();
  #helper: Promise<void> | undefined;
  #isWon = false;
  /** The oldest is the last that is older than {@link RATE_MS}. */
  readonly #looks: Look[] = [];

  constructor(block: ReadBlock, lane: ReceiverClient, options: InFlightBlockOptions) {
    this.block = block;
    this.lane = lane;
    this.startMs = options.startMs;
    this.encoded = options.encoded;
    this.signal = AbortSignal.any([options.signal, this.#lost.signal]);
    this.#arrivedBefore = lane.acknowledgedBytes;
  }

  /** Bytes of the body that is sent. */
  get wireBytes(): number {
    return (this.encoded ?? this.block.bytes).length;
  }

  get isWon(): boolean {
    return this.#isWon;
  }

  /**
   * To be asked with a receipt in hand, and at once before it is counted. @returns whether it is the first.
   */
  win(): boolean {
    if (this.#isWon) return false;
    this.#isWon = true;
    return true;
  }

  async look(nowMs: number): Promise<void> {
    await this.lane.look();
    this.#looks.push({ atMs: nowMs, arrivedBytes: this.lane.acknowledgedBytes - this.#arrivedBefore });
    while ((this.#looks[1]?.atMs ?? nowMs) <= nowMs - RATE_MS) this.#looks.shift();
  }

  /** How long it still takes as it goes now; Infinity when it stands still, 0 when all has arrived. */
  remainingMs(): number {
    const [first, last] = [this.#looks[0], this.#looks.at(-1)];
    if (first === undefined || last === undefined || last.atMs - first.atMs < RATE_MS) return 0;
    const leftBytes = Math.max(0, this.wireBytes - last.arrivedBytes);
    if (leftBytes === 0) return 0;
    return (leftBytes * (last.atMs - first.atMs)) / Math.max(0, last.arrivedBytes - first.arrivedBytes);
  }

  /**
   * @param usualMs what as many bytes take at present. @returns whether this one takes so much longer that a
   * lane that begins now would be done before; where all has arrived and no answer comes nobody knows.
   */
  isLate(usualMs: number, nowMs: number): boolean {
    const elapsedMs = nowMs - this.startMs;
    if (elapsedMs < LATE_MS_MIN) return false;
    const remainingMs = this.remainingMs();
    const isOverdue = elapsedMs + remainingMs > LATE_TIMES * usualMs;
    return isOverdue && (remainingMs > usualMs || (remainingMs === 0 && elapsedMs > LATE_TIMES * usualMs));
  }

  /**
   * One attempt on another lane. Its failure is nobody's business: the block has a lane that tries on.
   * @throws what is no TransferError.
   */
  async help(signal: AbortSignal, attempt: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#helper = promise;
    try {
      await attempt(AbortSignal.any([signal, this.#end.signal]));
      if (this.#isWon) this.#lost.abort(faster());
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
    } finally {
      this.#helper = undefined;
      resolve();
    }
  }

  /** When it resolves nobody but the block's own lane uses its bytes, and nobody will. */
  async endHelper(): Promise<void> {
    this.isHelped = true;
    this.#end.abort(faster());
    await this.#helper;
  }
}

function faster(): TransferError {
  return new TransferError('interrupted', 'another lane was faster');
}
