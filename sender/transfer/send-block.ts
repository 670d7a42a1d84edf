/**
 * One block to the receiver until it is written there: encoded, in flight, retried, near the end on two
 * lanes.
 */
import { formatAreas } from '../../common/areas.ts';
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import type { BlockResult } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import type { Retries } from './retry.ts';
import type { BlockEncoder } from '../compression/encode-block.ts';
import type { InFlightBlock } from './in-flight-block.ts';
import { InFlightBlocks } from './in-flight-blocks.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { BlockNotes, LaneWaits } from './block-notes.ts';
import type { OwedBlocks } from './owed-blocks.ts';
import type { BlockCounters } from './counters.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { BlockHead, OutgoingBlock, ReceiverClient } from '../client/receiver-port.ts';
import type { SendReporter } from './reporter-port.ts';

/** A block that was cut off after this long, and then again, may never get through between two cuts. */
const LONG_MS = 60_000;
const LONG_CUTS = 2;

export interface BlockSenderOptions {
  readonly transferId: string;
  /** The block may have been damaged in our memory. @throws if it is not what it was. */
  readonly check: (block: ReadBlock) => Promise<void>;
  readonly lanes: Pick<Lanes, 'permitToSend'>;
  readonly retries: Retries;
  readonly counters: BlockCounters;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** undefined: every block is sent plain. */
  readonly encoder?: BlockEncoder | undefined;
  readonly reporter: Pick<SendReporter, 'fact'>;
  /** undefined: nobody watches. */
  readonly notes?: BlockNotes | undefined;
}

export class BlockSender {
  readonly #options: BlockSenderOptions;
  readonly #inFlight: InFlightBlocks;
  #encodingCount = 0;
  /** Blocks that wait for their turn to be sent. */
  #queuedCount = 0;
  #hasAdvisedSmaller = false;

  constructor(options: BlockSenderOptions) {
    this.#options = options;
    this.#inFlight = new InFlightBlocks(options.clock, options.signal);
  }

  /** Milliseconds that blocks have been in flight so far, summed over all lanes. */
  get sendingMs(): number {
    return this.#inFlight.sendingMs;
  }

  /** What lanes with a block are waiting for, as of the last look at them. */
  get waits(): Omit<LaneWaits, 'source'> {
    const target = this.#inFlight.arrivedCount;
    const line = this.#inFlight.count - target + this.#queuedCount;
    return { processor: this.#encodingCount, line, target };
  }

  /** Bytes of blocks in flight that have arrived, as of the last look at their lanes. */
  get bytesArrived(): number {
    return this.#inFlight.bytesArrived;
  }

  /**
   * When it settles, nobody uses the bytes of the block any more.
   * @returns what the receiver owes now; undefined if a hedged request was faster, which has returned it.
   * @throws TransferError as {@link Retries.run}.
   */
  async send(lane: ReceiverClient, block: ReadBlock): Promise<OwedBlocks | undefined> {
    const { lanes, signal } = this.#options;
    // Before it is in flight: its time in flight tells how fast the line is.
    const encoded = await this.#encode(block);
    using _permit = await this.#turn(lanes.permitToSend(signal));
    await using inFlight = this.#inFlight.add({ block, lane, encoded });
    try {
      const owed = await this.#putUntilWritten(lane, inFlight);
      this.#inFlight.noteWritten(inFlight);
      return owed;
    } catch (error) {
      // A hedged request has won, and has aborted this one.
      if (inFlight.isSettled && !signal.aborted) return undefined;
      throw error;
    }
  }

  async #turn(permit: Promise<Disposable>): Promise<Disposable> {
    this.#queuedCount++;
    try {
      return await permit;
    } finally {
      this.#queuedCount--;
    }
  }

  /**
   * For a lane that has nothing left to do: sends an overdue block of another lane once more.
   * @param hasWork ends the waiting for such a block.
   * @returns whether there was one, and what the receiver owes if its result came first.
   */
  async hedge(
    lane: ReceiverClient,
    hasWork: () => boolean,
  ): Promise<{ wasOverdue: boolean; owed?: OwedBlocks }> {
    const { signal, counters } = this.#options;
    const inFlight = await this.#inFlight.nextOverdue(lane, hasWork);
    if (inFlight === undefined) return { wasOverdue: false };
    counters.resent++;
    let owed: OwedBlocks | undefined;
    await inFlight.hedge(signal, async (hedging) => {
      owed = await this.#put(lane, inFlight, hedging);
    });
    return owed === undefined ? { wasOverdue: true } : { wasOverdue: true, owed };
  }

  async #encode({ index, bytes }: ReadBlock): Promise<Buffer | undefined> {
    const { encoder } = this.#options;
    if (encoder === undefined) return undefined;
    this.#encodingCount++;
    try {
      return await encoder.encode(index, bytes);
    } finally {
      this.#encodingCount--;
    }
  }

  async #putUntilWritten(lane: ReceiverClient, inFlight: InFlightBlock): Promise<OwedBlocks | undefined> {
    const { check, retries, counters, clock } = this.#options;
    const { block, signal } = inFlight;
    let longCuts = 0;
    return await retries.run(signal, async (failure) => {
      if (failure?.code === 'digest-mismatch') {
        // It may be read into the same memory again, which no other lane may be sending.
        await inFlight.endHedge();
        await check(block);
      }
      // Encoded from damaged bytes, or damaged itself: sending it plain excludes both.
      if (failure?.kind === 'corrupt') inFlight.encoded = undefined;
      if (failure !== undefined && isFateUnknown(failure)) {
        const head = await lane.headBlock(block.index, signal);
        if (head !== 'absent' && isAsSent(head, block)) return settle(inFlight, head);
      }
      if (failure !== undefined) counters.resent++;
      inFlight.beginAttempt();
      const startMs = clock.monotonicMs();
      try {
        return await this.#put(lane, inFlight, signal);
      } catch (error) {
        const isCut = error instanceof TransferError && isFateUnknown(error) && !inFlight.isSettled;
        if (isCut && clock.monotonicMs() - startMs >= LONG_MS) longCuts++;
        if (longCuts >= LONG_CUTS) this.#adviseSmaller(block.bytes.length);
        throw error;
      }
    });
  }

  async #put(
    lane: ReceiverClient,
    inFlight: InFlightBlock,
    signal: AbortSignal,
  ): Promise<OwedBlocks | undefined> {
    const { encoder, clock, transferId } = this.#options;
    const { block, encoded, wireBytes } = inFlight;
    const body: OutgoingBlock = encoded === undefined ? block : { ...block, encoded };
    const lanes = this.#encodingCount + this.#inFlight.count;
    const startMs = clock.monotonicMs();
    this.#options.notes?.sending(block, lane);
    try {
      const result = await lane.putBlock(body, signal);
      const sendingMs = clock.monotonicMs() - startMs;
      encoder?.noteSent({ wireBytes, isEncoded: encoded !== undefined, sendingMs, lanes });
      if (result.transferId !== transferId) throw otherTransfer();
      return settle(inFlight, result);
    } catch (error) {
      const isRefused = error instanceof TransferError && error.code === 'unsupported-encoding';
      if (!isRefused || encoded === undefined) throw error;
      encoder?.refuse();
      inFlight.encoded = undefined;
      return await this.#put(lane, inFlight, signal);
    }
  }

  #adviseSmaller(lengthBytes: number): void {
    if (this.#hasAdvisedSmaller) return;
    this.#hasAdvisedSmaller = true;
    const what = `a block of ${formatSize(lengthBytes)} was cut off twice after more than a minute`;
    this.#options.reporter.fact(
      `note     ${what}: smaller blocks would get through (see docs/guide/interruptions.md)`,
    );
  }
}

/** @returns what the receiver owes; undefined if another lane's result came first. */
function settle(
  inFlight: InFlightBlock,
  { epoch, generation }: Pick<BlockResult, 'epoch' | 'generation'>,
): OwedBlocks | undefined {
  const { index, digest } = inFlight.block;
  return inFlight.settle() ? { ranges: [[index, 1]], digest, epoch, generation } : undefined;
}

function isAsSent({ digest, algorithm, sourceErrors }: BlockHead, block: ReadBlock): boolean {
  const isSame = algorithm === block.algorithm && digest.equals(block.digest);
  return isSame && sourceErrors === formatAreas(block.unreadable);
}

/** The request may have been carried out although no response came. */
function isFateUnknown({ code }: TransferError): boolean {
  return code === 'connection-failed' || code === 'bad-answer' || code === 'too-slow';
}

export function otherTransfer(): TransferError {
  return new TransferError('transfer-mismatch', 'the receiver at this address serves another transfer now', {
    hint: 'use the ticket that it prints now',
  });
}
