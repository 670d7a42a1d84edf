/** What the sender asks of a receiver. Implementations: HTTPS (receiver-client.ts). */
import type { Area } from '../../common/areas.ts';
import type { DigestAlgorithm } from '../../common/digest/digest.ts';
import type {
  BlockResult,
  BlockState,
  Claim,
  TransferStatus,
  ZeroResult,
} from '../../common/protocol/protocol.ts';
import type { Geometry } from '../../common/geometry.ts';
import type { Range } from '../../common/ranges.ts';

/** Carried by every reply: how far the receiver has flushed, and in which epoch. */
export interface ResponseInfo {
  readonly epoch: string;
  readonly durableGeneration: number;
  /** Blocks that the receiver has read back and found equal so far. */
  readonly verifiedCount: number;
}

/** What is on the target in place of a block. */
export interface BlockHead {
  readonly digest: Buffer;
  readonly algorithm: DigestAlgorithm;
  readonly state: BlockState;
  readonly generation: number;
  readonly epoch: string;
  /** `Ddt-Source-Errors`: areas that its sender could not read; empty for none. */
  readonly sourceErrors: string;
}

/** A block on its way; `bytes` and `digest` must not change until it is there. */
export interface OutgoingBlock {
  readonly index: number;
  readonly bytes: Buffer;
  readonly digest: Buffer;
  readonly algorithm: DigestAlgorithm;
  readonly unreadable: readonly Area[];
  /** The same in zstd's format, to be sent in place of `bytes`; must not change either. */
  readonly encoded?: Buffer | undefined;
}

/** A sealed transfer: what was compared, and the receiver's signature over it. */
export interface Seal {
  readonly verified: 'read-back' | 'none';
  /** Areas of the source that could not be read, and are zeros on the target. */
  readonly unreadable: readonly Area[];
  /** The exact bytes that are signed. */
  readonly text: string;
  readonly signature: string;
}

/** What the sender says it has sent; the receipt has to repeat it. */
export interface SealRequest {
  readonly transferId: string;
  readonly geometry: Geometry;
  /** Of its blocks. */
  readonly algorithm: DigestAlgorithm;
  /** 32 bytes. */
  readonly root: Buffer;
}

/** Each method is one request on one connection; failures are TransferErrors, whose kind says what to do. */
export interface ReceiverClient {
  /** Bytes written to the line so far, requests and bodies. */
  readonly bytesWire: number;
  readonly isConnected: boolean;
  /** For how long the request under way has not moved, in coarse steps; undefined: none is, or not known. */
  readonly standstillMs: number | undefined;
  /** Bytes that have reached the other end's kernel, when {@link look} was last called. Never shrinks. */
  readonly acknowledgedBytes: number;
  look(): Promise<void>;
  transfer(signal: AbortSignal): Promise<TransferStatus>;
  claim(claim: Claim, signal: AbortSignal): Promise<TransferStatus>;
  /** 32 bytes a block, zeros where it is not durable. */
  listDigests(from: number, count: number, signal: AbortSignal): Promise<Buffer>;
  headBlock(index: number, signal: AbortSignal): Promise<BlockHead | 'absent'>;
  /** The block's bytes as they are on the target. */
  readBlock(index: number, signal: AbortSignal): Promise<Buffer>;
  /** Resolves when written; durable is told later, by {@link ResponseInfo}. */
  putBlock(block: OutgoingBlock, signal: AbortSignal): Promise<BlockResult>;
  zero(ranges: readonly Range[], signal: AbortSignal): Promise<ZeroResult>;
  flush(signal: AbortSignal): Promise<void>;
  /** `verifying`: ask again after a moment. */
  complete(request: SealRequest, signal: AbortSignal): Promise<Seal | 'verifying'>;
  /** A sealed transfer with unreadable areas takes blocks again. */
  reopen(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
