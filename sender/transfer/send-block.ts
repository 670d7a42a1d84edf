/**
 * One block to the receiver, until it is written there: tried again, and near the end on two lanes at once.
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
import type { OwedBlocks } from './owed-blocks.ts';
import type { BlockCounters } from './counters.ts';
import type { ReadBlock } from '../source/read-block.ts';
import type { BlockHead, OutgoingBlock, ReceiverClient } from '../client/receiver-port.ts';
import type { SendReporter } from './reporter-port.ts';

/** A block that was cut off after so long, and then again, may never get through between two cuts. */
const LONG_MS = 60_000;
const LONG_CUTS = 2;

export interface BlockSenderOptions {
  readonly transferId: string;
  /** The block may have been damaged in our memory. @throws when it is not what it was. */
  readonly check: (block: ReadBlock) => Promise<void>;
  readonly retries: Retries;
  readonly counters: BlockCounters;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** None: every block is sent plain. */
  readonly encoder?: BlockEncoder | undefined;
  /** Told once of each block that the receiver has written. */
  readonly owe: (blocks: OwedBlocks) => void;
  readonly reporter: Pick<SendReporter, 'fact'>;
}

export class BlockSender {
  readonly #options: BlockSenderOptions;
  readonly #inFlight: InFlightBlocks;
  /** Blocks that are encoded or under way. */
  #busyLanes = 0;
  #isToldToBeSmaller = false;

  constructor(options: BlockSenderOptions) {
    this.#options = options;
    this.#inFlight = new InFlightBlocks(options.clock, options.signal);
  }

  /** Milliseconds that blocks have been under way so far, all lanes together. */
  get sendingMs(): number {
    return this.#inFlight.sendingMs;
  }

  /** The block's bytes are not used any more when it has settled. @throws TransferError as attempts do. */
  async send(lane: ReceiverClient, block: ReadBlock): Promise<void> {
    const { encoder } = this.#options;
    this.#busyLanes++;
    try {
      // Before it is under way: how long it takes on the line is told from that.
      const encoded = encoder === undefined ? undefined : await encoder.encode(block.index, block.bytes);
      await this.#inFlight.fly({ block, encoded }, lane, async (flight) => await this.#sendOn(lane, flight));
    } finally {
      this.#busyLanes--;
    }
  }

  /**
   * For a lane that has nothing left to do: sends a block that is late elsewhere.
   * @param hasWork ends the waiting for such a block. @returns whether there was one.
   */
  async help(lane: ReceiverClient, hasWork: () => boolean): Promise<boolean> {
    const { signal, counters } = this.#options;
    const flight = await this.#inFlight.late(lane, hasWork);
    if (flight === undefined) return false;
    counters.resent++;
    await flight.help(signal, async (helping) => await this.#put(lane, flight, helping));
    return true;
  }

  async #sendOn(lane: ReceiverClient, flight: InFlightBlock): Promise<void> {
    const { check, retries, counters, clock } = this.#options;
    const { block } = flight;
    let longCuts = 0;
    await retries.run(flight.signal, async (failure) => {
      if (failure?.code === 'digest-mismatch') {
        // It may be read into its place once more: when nobody else reads there.
        await flight.endHelper();
        await check(block);
      }
      // Encoded from damaged bytes, or damaged itself: what is left out cannot be wrong.
      if (failure?.kind === 'corrupt') flight.encoded = undefined;
      if (failure !== undefined && isFateUnknown(failure)) {
        const head = await lane.headBlock(block.index, flight.signal);
        if (head !== 'absent' && isAsSent(head, block)) return this.#owe(flight, head);
      }
      if (failure !== undefined) counters.resent++;
      const startMs = clock.monotonicMs();
      try {
        await this.#put(lane, flight, flight.signal);
      } catch (error) {
        const isCut = error instanceof TransferError && isFateUnknown(error) && !flight.isWon;
        if (isCut && clock.monotonicMs() - startMs >= LONG_MS) longCuts++;
        if (longCuts >= LONG_CUTS) this.#adviseSmaller(block.bytes.length);
        throw error;
      }
    });
  }

  #adviseSmaller(lengthBytes: number): void {
    if (this.#isToldToBeSmaller) return;
    this.#isToldToBeSmaller = true;
    const what = `a block of ${formatSize(lengthBytes)} was cut off twice after more than a minute`;
    this.#options.reporter.fact(`note     ${what}: smaller ones get through (README, "Slow lines")`);
  }

  async #put(lane: ReceiverClient, flight: InFlightBlock, signal: AbortSignal): Promise<void> {
    const receipt = await this.#putEncoded(lane, flight, signal);
    if (receipt.transferId !== this.#options.transferId) throw otherTransfer();
    this.#owe(flight, receipt);
  }

  async #putEncoded(lane: ReceiverClient, flight: InFlightBlock, signal: AbortSignal): Promise<BlockResult> {
    const { encoder, clock } = this.#options;
    const { block, encoded, wireBytes } = flight;
    const body: OutgoingBlock = encoded === undefined ? block : { ...block, encoded };
    try {
      const startMs = clock.monotonicMs();
      const receipt = await lane.putBlock(body, signal);
      const sendingMs = clock.monotonicMs() - startMs;
      encoder?.noteSent({ wireBytes, isEncoded: encoded !== undefined, sendingMs, lanes: this.#busyLanes });
      return receipt;
    } catch (error) {
      const isRefused = error instanceof TransferError && error.code === 'unsupported-encoding';
      if (!isRefused || encoded === undefined) throw error;
      encoder?.refuse();
      flight.encoded = undefined;
      return await lane.putBlock(block, signal);
    }
  }

  /** Of two receipts for one block the first counts. */
  #owe(flight: InFlightBlock, { epoch, generation }: { epoch: string; generation: number }): void {
    const { index, digest } = flight.block;
    if (flight.win()) this.#options.owe({ ranges: [[index, 1]], digest, epoch, generation });
  }
}

function isAsSent({ digest, algorithm, sourceErrors }: BlockHead, block: ReadBlock): boolean {
  const isSame = algorithm === block.algorithm && digest.equals(block.digest);
  return isSame && sourceErrors === formatAreas(block.unreadable);
}

/** The request may have been carried out although no answer came. */
function isFateUnknown({ code }: TransferError): boolean {
  return code === 'connection-failed' || code === 'bad-answer' || code === 'too-slow';
}

export function otherTransfer(): TransferError {
  return new TransferError('transfer-mismatch', 'the receiver at this address serves another transfer now', {
    hint: 'use the ticket that it prints now',
  });
}
