/** What the parts of a simulation share. */
import type { DigestAlgorithm } from '../../common/digest/digest.ts';
import type { BlockCounters } from '../../sender/transfer/counters.ts';
import type { Transfer } from '../../receiver/transfer/transfer.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { signSsh } from '../../common/trust/ssh-signature.ts';
import type { Geometry } from '../../common/geometry.ts';
import type { Contents } from './contents.ts';
import type { Fault, Faults, Operation } from './faults.ts';
import type { Random } from './random.ts';
import type { Scheduler, SimProcess } from './scheduler.ts';
import type { Answer, Request } from './requests.ts';
import type { SimDisk } from './sim-disk.ts';
import type { JournalStore } from './sim-journal.ts';

/** What is fixed for a run. */
export interface Profile {
  readonly geometry: Geometry;
  readonly connections: number;
  /** As many as help; `connections` is ignored then. */
  readonly isAuto: boolean;
  /** Block buffers of the sender and of the receiver. */
  readonly senderSlabs: number;
  readonly receiverSlabs: number;
  readonly isReadBack: boolean;
  readonly readBackMethod: ReadBackMethod;
  /** Whether the writes of others are counted apart, as on a device, or not, as with a file. */
  readonly tellsWritersApart: boolean;
  readonly retryForMs: number;
  /** The usual time of a request, a write or read, and a flush. */
  readonly lineMs: number;
  readonly diskMs: number;
  readonly flushMs: number;
  /** The source changes between two runs of the sender. */
  readonly isSourceChanging: boolean;
  /** Only this many blocks of a version differ; the others repeat them. undefined: all of them. */
  readonly distinctBlocks: number | undefined;
  readonly isLying: boolean;
  /** After the end everything is started again and compared. */
  readonly isRepeated: boolean;
  /** The name of the digest; what is computed here is neither. */
  readonly digest: DigestAlgorithm;
  /** undefined: the source is a disk. */
  readonly pipe: PipeProfile | undefined;
}

/** A source that is a pipe, and the target for it. */
export interface PipeProfile {
  /** The target is a file, which takes the size of the source, rather than a device. */
  readonly isFile: boolean;
  /** What the target can take: the size of a device, or what the file system has left. */
  readonly roomBytes: number;
  /** `--source-size`: never, always the right one, a wrong one until that is noticed, or in some runs. */
  readonly sizeGiven: 'never' | 'right' | 'wrong' | 'sometimes';
  readonly wrongSizeBytes: number;
  /** However the source is resized between two runs. */
  readonly sizeBytesMax: number;
  /** The most that one read of the pipe gives. */
  readonly readBytesMax: number;
}

/** The receiver's process as seen by the line. */
export interface ReceiverProcess {
  readonly process: SimProcess;
  readonly isListening: boolean;
  readonly transfer: Transfer | undefined;
  /** When the earliest of the requests for a seal that are in progress came; Infinity without one. */
  readonly sealAskedMs: number;
  /** Requests that it has begun to answer. */
  readonly answering: number;
  answer(request: Request): Promise<Answer>;
}

/** The sender's process as seen by the checks. */
export interface SenderProcess {
  readonly process: SimProcess;
  readonly counters: Readonly<BlockCounters> | undefined;
  /** For each block, whether it was durable at some time since this process started. */
  readonly wasDurable: Uint8Array;
  readonly startedMs: number;
}

/** Why a receiver's process ends. */
export type End = 'exit' | 'kill' | 'power';

/** The present version of each block of the source. */
export interface SourceDisk {
  readonly versions: number[];
  /** Of a pipe: where it has ended in some run, early or not. */
  readonly sizesBytes: Set<number>;
  /** Blocks that were unreadable at some time: late requests may still report it. */
  readonly unreadable: Set<number>;
}

export interface World {
  readonly profile: Profile;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly faults: Faults;
  readonly contents: Contents;
  readonly source: SourceDisk;
  readonly disk: SimDisk;
  readonly journal: JournalStore;
  /** undefined for real signatures. */
  readonly sign: typeof signSsh | undefined;
  readonly receiver: ReceiverProcess | undefined;
  readonly sender: SenderProcess | undefined;
  /** Requests whose client still waits; notified when the receiver's process ends. */
  readonly waiting: Set<(end: End) => void>;
  /** No request gets through until then. */
  outageUntilMs: number;
  /** When the last fault happened. */
  lastFaultMs: number;
  /** Changes of the epoch that a sender could notice. */
  epochEnds: number;
  mismatches: number;
  /** Blocks of an earlier receiver that were found different. */
  changes: number;
  /** Blocks that the receiver has copied on the target. */
  copies: number;
  /** A violation of an invariant. The run ends with the first. */
  violate(what: string): void;
  /** Whether the operation that starts now fails, and how; processes may be hit as well. */
  ask(operation: Operation): Fault | undefined;
  /** A time around `scaleMs`: often close to nothing, rarely a hundred times as long. */
  latency(scaleMs: number): number;
  endReceiver(end: End): void;
}
