/**
 * One block to the receiver, until it is written there: tried again, and near the end on two lanes at once.
 */
import { formatAreas } from '../common/areas.ts';
import type { Clock } from '../common/clock.ts';
import { TransferError } from '../common/errors.ts';
import type { Attempts } from './attempts.ts';
import type { Flight } from './flight.ts';
import { Flights } from './flights.ts';
import type { OwedBlocks } from './owed-blocks.ts';
import type { BlockCounters } from './progress.ts';
import type { ReadBlock } from './read-block.ts';
import type { BlockHead, ReceiverClient } from './receiver-port.ts';

export interface BlockSenderOptions {
  readonly transferId: string;
  /** The block may have been damaged in our memory. @throws when it is not what it was. */
  readonly check: (block: ReadBlock) => Promise<void>;
  readonly attempts: Attempts;
  readonly counters: BlockCounters;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told once of each block that the receiver has written. */
  readonly owe: (blocks: OwedBlocks) => void;
}

export class BlockSender {
  readonly #options: BlockSenderOptions;
  readonly #flights: Flights;

  constructor(options: BlockSenderOptions) {
    this.#options = options;
    this.#flights = new Flights(options.clock, options.signal);
  }

  /** Milliseconds that blocks have been under way so far, all lanes together. */
  get sendingMs(): number {
    return this.#flights.sendingMs;
  }

  /** The block's bytes are not used any more when it has settled. @throws TransferError as attempts do. */
  async send(lane: ReceiverClient, block: ReadBlock): Promise<void> {
    await this.#flights.fly(block, lane, async (flight) => await this.#sendOn(lane, flight));
  }

  /**
   * For a lane that has nothing left to do: sends a block that is late elsewhere.
   * @param hasWork ends the waiting for such a block. @returns whether there was one.
   */
  async help(lane: ReceiverClient, hasWork: () => boolean): Promise<boolean> {
    const { signal, counters } = this.#options;
    const flight = await this.#flights.late(lane, hasWork);
    if (flight === undefined) return false;
    counters.resent++;
    await flight.help(signal, async (helping) => await this.#put(lane, flight, helping));
    return true;
  }

  async #sendOn(lane: ReceiverClient, flight: Flight): Promise<void> {
    const { check, attempts, counters } = this.#options;
    const { block } = flight;
    await attempts.run(flight.signal, async (failure) => {
      if (failure?.code === 'digest-mismatch') {
        // It may be read into its place once more: when nobody else reads there.
        await flight.endHelper();
        await check(block);
      }
      if (failure !== undefined && isFateUnknown(failure)) {
        const head = await lane.headBlock(block.index, flight.signal);
        if (head !== 'absent' && isAsSent(head, block)) return this.#owe(flight, head);
      }
      if (failure !== undefined) counters.resent++;
      await this.#put(lane, flight, flight.signal);
    });
  }

  async #put(lane: ReceiverClient, flight: Flight, signal: AbortSignal): Promise<void> {
    const receipt = await lane.putBlock(flight.block, signal);
    if (receipt.transferId !== this.#options.transferId) throw otherTransfer();
    this.#owe(flight, receipt);
  }

  /** Of two receipts for one block the first counts. */
  #owe(flight: Flight, { epoch, generation }: { epoch: string; generation: number }): void {
    const { index, digest } = flight.block;
    if (flight.win()) this.#options.owe({ ranges: [[index, 1]], digest, epoch, generation });
  }
}

function isAsSent({ digest, sourceErrors }: BlockHead, block: ReadBlock): boolean {
  return digest.equals(block.digest) && sourceErrors === formatAreas(block.unreadable);
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
