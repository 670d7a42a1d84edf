/**
 * The port to the disk that is written. Implementations: devices, files, NBD exports, copies in an object
 * store, memory (tests).
 */
import type { Geometry } from '../../common/geometry.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { OpenRecord } from '../../common/store/collecting.ts';

/**
 * What the target is. Kept in the journal, which belongs to this target alone; {@link Target} has what
 * operations need to know. Unknown properties are `null`.
 */
export interface TargetIdentity {
  /**
   * A word for the kind of target: `device`, `file`, `image`, `nbd`, `store`. Compared with the recorded one.
   */
  readonly kind: string;
  /** The path that was given, made absolute. */
  readonly path: string;
  readonly model: string | null;
  readonly serial: string | null;
  readonly wwn: string | null;
  /** A link in /dev/disk/by-id; not compared, because udev may choose another one tomorrow. */
  readonly byId: string | null;
  /** null where the target takes the size of the source. */
  readonly sizeBytes: number | null;
  /** File: `device:inode`. */
  readonly fileId: string | null;
  /** See `DiskDescription.createdAt`. Journals of version 0.1 do not have it. */
  readonly createdAt?: string | null;
  /** See `DiskDescription.bootTimeId`. Journals of version 0.1 do not have it. */
  readonly bootTimeId?: string | null;
  readonly logicalSectorBytes: number;
  /** For people: "ATA WDC WD10EZEX", "loop device", "regular file". */
  readonly description: string;
}

/**
 * A state of the target that changes when somebody writes to it. Two marks can be compared while no write of
 * this process is in progress: if they are equal nobody wrote in between.
 */
export interface WriteMark {
  /**
   * Bytes written or discarded by others since the target was opened: exact while no write of this process is
   * in progress, otherwise a lower bound. null where their writes can't be distinguished from ours, which
   * then change the mark too.
   */
  readonly foreignBytes: number | null;
  /** Whatever else changes: a file's size and times, a device counter that lost its base. */
  readonly stamp: string;
  /**
   * How often the target was lost and found again, which changes the stamp, too: what was read before counts
   * for nothing then, though nobody need have written.
   */
  readonly lossCount?: number;
}

/** The blocks of the open transfer: the map of a target that has none of its own. */
export interface BlockMap {
  readonly geometry: Geometry;
  /** 32 bytes; all zero where the block is absent. */
  readonly digestOf: (index: number) => Buffer;
  /** Of a block of zeros in this place. */
  readonly zeroDigestOf: (index: number) => Buffer;
}

/** A copy that can be sealed. */
export interface CopyToSeal {
  readonly transferId: string;
  /** As in the receipt. */
  readonly sealedAt: string;
  /** The exact text that was signed. */
  readonly receipt: string;
  /** Armored. */
  readonly signature: string;
  /** 32 bytes a block, in index order. */
  readonly digests: Buffer;
}

/**
 * What a target does that holds the blocks of any number of copies, each under its digest, and that several
 * receivers may serve: whatever one of them has to know of a transfer, another one finds there.
 * Each method @throws TransferError `io-error`, `no-space`.
 */
export interface TargetStore {
  /** From here on the target's blocks are those of this map. */
  follow(map: BlockMap): void;
  /**
   * Whether it holds a block with this digest, of this length. @returns how it was read and compared.
   */
  holds(digest: Buffer, lengthBytes: number): Promise<ReadBackMethod | undefined>;
  /** The transfer onto this target; a new one where there is none, or where another one is asked for. */
  join(isNew: boolean): Promise<OpenRecord>;
  /**
   * What is recorded of that transfer now; undefined where nothing is.
   * @throws TransferError `transfer-mismatch` when another receiver has sealed it, or has begun another one.
   */
  current(): Promise<OpenRecord | undefined>;
  /** Records it, and leaves what others have recorded; also a sign of life. @throws as {@link current}. */
  keep(record: Omit<OpenRecord, 'startedAt'>): Promise<void>;
  /**
   * Seals the copy. @returns blocks that are missing: then it is not sealed.
   * @throws TransferError `in-use` while chunks are being deleted.
   */
  seal(copy: CopyToSeal): Promise<readonly number[]>;
  /**
   * Stores again what would be deleted otherwise. To be called at the start and every hour.
   * @returns whether that comes too late: anything may have been deleted.
   */
  tend(): Promise<boolean>;
}

export interface Target {
  readonly identity: TargetIdentity;
  /** It has the size it has. Otherwise it takes the size of the source. */
  readonly isSizeFixed: boolean;
  /** The logical sectors that software will find on it; null where the target has none. */
  readonly sectorBytes: number | null;
  /**
   * Whether it still is what was inspected: its name leads to it, a device has the same size and medium.
   * Called before a sender may write. @throws TransferError `target-refused`.
   */
  confirm(): Promise<void>;
  /**
   * Makes the target ready for this many bytes; one without a fixed size gets this length.
   * @throws TransferError `target-too-small`, `no-space`, `io-error`, `target-refused`.
   */
  prepare(sizeBytes: number): Promise<void>;
  /** How many bytes it has now. @throws TransferError `io-error`. */
  lengthBytes(): Promise<number>;
  /** How many bytes it could hold: its fixed size, or what its file system has left for it. */
  roomBytes(): Promise<number>;
  /**
   * Writes all of `bytes` at `offset`; resolves when the kernel or device has taken them, durable or not.
   * A page-aligned address (a slab) bypasses the page cache.
   * @param digest of the bytes, of the transfer's kind, where they are a block.
   * @throws TransferError `io-error`, `no-space`; then any part of the range may hold anything.
   */
  write(bytes: Buffer, offset: number, digest?: Buffer): Promise<void>;
  /** Makes the range read as zeros. @throws as {@link write}. */
  writeZeros(offset: number, lengthBytes: number): Promise<void>;
  /** Fills `into` from `offset`, through the page cache. @throws TransferError `io-error`. */
  read(into: Buffer, offset: number): Promise<void>;
  /**
   * Fills `into`, the first bytes of a slab, from the medium rather than the page cache. The bytes of the
   * slab that follow, up to the next multiple of 4096, may be overwritten. @throws TransferError `io-error`.
   */
  readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod>;
  /** As `ZeroRuns.count` (zero-runs.ts), from the medium; absent where that gains nothing. */
  countZeros?(offset: number, blockBytes: number, count: number): Promise<number>;
  /**
   * Everything whose write resolved before this call is on the device when it resolves. After a rejection
   * nothing written since the last success can be trusted, and another call proves nothing (the kernel
   * reports a failed write-back once and may drop the pages): only `durability` calls it.
   * @throws TransferError `io-error`.
   */
  flush(): Promise<void>;
  writeMark(): Promise<WriteMark>;
  /** A server that holds it may be away for a while: `tell` gets a sentence then, and when it is back. */
  reportOutages?(tell: (sentence: string, isGone: boolean) => void): void;
  /** Such a server is not waited for any more: what waits for it fails. */
  stopWaiting?(): void;
  /** Of a target that holds blocks under their digests; its transfers have SHA-256 digests. */
  readonly store?: TargetStore;
  close(): Promise<void>;
}
