/** The port through which a transmission says what happens to each block, to those who watch (`--web`). */
import type { Geometry } from '../../common/geometry.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import type { Range } from '../../common/ranges.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { ReadBlock } from '../source/read-block.ts';

/** What the lanes are waiting for at a moment: how many for each. */
export interface LaneWaits {
  /** Reading a block and computing its digest. */
  readonly source: number;
  /** Compressing it. */
  readonly processor: number;
  /** Bytes of it are still on the way, or it waits for its turn to be sent. */
  readonly line: number;
  /** All of it has arrived, and no answer has come. */
  readonly target: number;
}

export interface WatchedTransmission {
  readonly status: TransferStatus;
  /** The size of a pipe is the maximum until it has ended. */
  readonly geometry: Geometry;
  readonly isSizeKnown: boolean;
  readonly lanes: Pick<Lanes, 'views'>;
  readonly waits: () => LaneWaits;
}

export interface BlockNotes {
  /** The transmission begins. */
  begin(watched: WatchedTransmission): void;
  read(block: ReadBlock): void;
  /** The target had it. */
  present(index: number, digest: Buffer): void;
  /** For the first time or again. */
  sending(block: ReadBlock, lane: ReceiverClient): void;
  /** Copied on the target from another one. */
  copied(index: number): void;
  written(ranges: readonly Range[]): void;
  /** @param digest undefined: of zeros. */
  durable(ranges: readonly Range[], digest: Buffer | undefined): void;
  /** To be sent again. */
  lost(ranges: readonly Range[]): void;
  /** From what was sealed, and not sent. */
  different(index: number): void;
}
