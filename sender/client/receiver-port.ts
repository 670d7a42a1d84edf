/** The port to the receiver, implemented over HTTPS by http-receiver.ts. */
import type { Area } from '../../common/areas.ts';
import type { DigestAlgorithm } from '../../common/digest/digest.ts';
import type {
  BlockResult,
  BlockState,
  Claim,
  LeftOut,
  ProveRequest,
  TransferStatus,
  ZeroResult,
} from '../../common/protocol/protocol.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { ReadRate } from '../../common/io/read-rate.ts';
import type { Geometry } from '../../common/geometry.ts';
import type { Range } from '../../common/ranges.ts';

/** Comes with every response: how far the receiver has flushed, and in which epoch. */
export interface ResponseInfo {
  readonly epoch: string;
  readonly durableGeneration: number;
  /** Blocks read back and equal so far. */
  readonly verifiedCount: number;
  /** When its request was begun, by the monotonic clock: whatever was known then is older than it. */
  readonly requestedMs: number;
}

/** What the target holds at the place of a block. */
export interface BlockHead {
  readonly digest: Buffer;
  readonly algorithm: DigestAlgorithm;
  readonly state: BlockState;
  readonly generation: number;
  readonly epoch: string;
  /** The value of `Ddt-Source-Errors`: areas that its sender could not read; empty for none. */
  readonly sourceErrors: string;
}

/** A block to send; `bytes` and `digest` must not change until the request has settled. */
export interface OutgoingBlock {
  readonly index: number;
  readonly bytes: Buffer;
  readonly digest: Buffer;
  readonly algorithm: DigestAlgorithm;
  readonly unreadable: readonly Area[];
  /** The block as a zstd frame, sent instead of `bytes`; must not change either. */
  readonly encoded?: Buffer | undefined;
}

/** The receipt of a sealed transfer: what was verified, and the receiver's signature over it. */
export interface Seal {
  readonly verified: 'read-back' | 'none';
  /** null: not at all, or as an earlier version did, from a disk. */
  readonly readBack: ReadBackMethod | null;
  /** Unreadable areas of the source, which are zeros on the target. */
  readonly unreadable: readonly Area[];
  /** What was not read of the source, and is zeros on the target. */
  readonly leftOut: LeftOut | null;
  /** When the target was last read back and equal, as the receiver says; null of version 0.1. */
  readonly verifiedAt: string | null;
  /** The exact bytes that are signed. */
  readonly text: string;
  readonly signature: string;
  /** Blocks that another program has changed since they were written, and that were sent again. */
  readonly changedCount: number;
}

/** What the sender has sent; the receipt has to repeat it. */
export interface SealRequest {
  readonly transferId: string;
  readonly geometry: Geometry;
  /** Of the digests of its blocks. */
  readonly algorithm: DigestAlgorithm;
  /** 32 bytes. */
  readonly root: Buffer;
  /** What the blocks leave out of the source. */
  readonly leftOut: LeftOut | null;
}

/** Each method is one request on one connection. Failures are TransferErrors, whose kind says what to do. */
export interface ReceiverClient {
  /** Bytes written to the connection so far, requests and bodies. */
  readonly bytesWire: number;
  readonly isConnected: boolean;
  /**
   * For how long the current request has not moved, in coarse steps; undefined without one, or if not known.
   */
  readonly standstillMs: number | undefined;
  /** Bytes that the other end's kernel had at the last {@link refreshAcknowledged}. Never shrinks. */
  readonly acknowledgedBytes: number;
  refreshAcknowledged(): Promise<void>;
  transfer(signal: AbortSignal): Promise<TransferStatus>;
  claim(claim: Claim, signal: AbortSignal): Promise<TransferStatus>;
  /** @returns 32 bytes for each block, zeros where it is not durable. */
  listDigests(from: number, count: number, signal: AbortSignal): Promise<Buffer>;
  headBlock(index: number, signal: AbortSignal): Promise<BlockHead | 'absent'>;
  /** @returns the bytes on the target. */
  readBlock(index: number, signal: AbortSignal): Promise<Buffer>;
  /** Resolves when written; {@link ResponseInfo} tells later when it is durable. */
  putBlock(block: OutgoingBlock, signal: AbortSignal): Promise<BlockResult>;
  /**
   * As {@link putBlock}, without its bytes: `from` has the same and is durable; undefined: the target finds
   * them by their digest.
   */
  copyBlock(block: OutgoingBlock, from: number | undefined, signal: AbortSignal): Promise<BlockResult>;
  zero(ranges: readonly Range[], signal: AbortSignal): Promise<ZeroResult>;
  flush(signal: AbortSignal): Promise<void>;
  /** `verifying`: to be asked again. */
  complete(request: SealRequest, signal: AbortSignal): Promise<Seal | 'verifying'>;
  /** Lets a sealed transfer with unreadable areas take blocks again. */
  reopen(signal: AbortSignal): Promise<void>;
  /** Everything is read back again. @throws TransferError `state-refused` with --verify none. */
  verify(signal: AbortSignal): Promise<TransferStatus>;
  /**
   * @returns for each block 32 bytes: SHA-256 over the nonce and what the receiver reads from its target.
   * @throws TransferError `not-found` of a receiver that does not know the request, `state-refused` with
   * --verify none.
   */
  prove(request: ProveRequest, transferId: string, signal: AbortSignal): Promise<readonly Buffer[]>;
  /** How fast the receiver reads its target; of 0 bytes nothing is known. @throws as {@link prove}. */
  probeTarget(signal: AbortSignal): Promise<ReadRate>;
  /** Sends bytes that are thrown away there. @param body at most `PROBE_BYTES_MAX`. */
  probeLine(body: Buffer, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
