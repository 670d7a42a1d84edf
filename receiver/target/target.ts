/**
 * The port to the disk that is written. Implementations: devices and files (disk-target.ts), memory (tests).
 */

/** Who the target is; the journal is bound to it. Unknown properties are `null`. */
export interface TargetIdentity {
  readonly kind: 'device' | 'file' | 'memory';
  /** As the operator named it, made absolute. */
  readonly path: string;
  readonly model: string | null;
  readonly serial: string | null;
  readonly wwn: string | null;
  /** A link in /dev/disk/by-id; not compared, for udev may name it otherwise tomorrow. */
  readonly byId: string | null;
  /** Device: its size. File: null, for it takes the size of the source when claimed. */
  readonly sizeBytes: number | null;
  /** File: device and inode number, which tell it from another file of the same name. Device: null. */
  readonly fileId: string | null;
  readonly logicalSectorBytes: number;
  /** What a person calls it: "ATA WDC WD10EZEX", "loop device", "regular file". */
  readonly description: string;
}

/**
 * How bytes were read back: `direct`, with O_DIRECT; `cache-dropped`, through the page cache after the kernel
 * was told to drop it, where O_DIRECT does not work.
 */
export type ReadBackMethod = 'direct' | 'cache-dropped';

/**
 * A state of the target that changes when somebody writes to it. Two marks can be compared while no write of
 * this process is in progress: if they are equal nobody wrote in between.
 */
export interface WriteMark {
  /**
   * Bytes written or discarded by others since the target was opened: exact while no write of this process is
   * in progress, otherwise at least so many. null where their writes can't be told from ours, which then
   * change the mark too.
   */
  readonly foreignBytes: number | null;
  /** Everything else that would change: a file's size and times, a device counter that lost its base. */
  readonly stamp: string;
}

export interface Target {
  readonly identity: TargetIdentity;
  /**
   * Makes the target ready for this many bytes; a file gets this length, what is behind it is cut off.
   * @throws TransferError `target-too-small`, `no-space`, `io-error`.
   */
  prepare(sizeBytes: number): Promise<void>;
  /** Bytes that it could hold: of a device its size, of a file what its file system has left for it. */
  roomBytes(): Promise<number>;
  /**
   * Writes all of `bytes` at `offset`; resolves when the kernel or device has taken them, durable or not.
   * `bytes` should start at a page-aligned address (a slab): then the page cache is passed by.
   * @throws TransferError `io-error`, `no-space`; then any part of the range may hold anything.
   */
  write(bytes: Buffer, offset: number): Promise<void>;
  /** Makes the range read as zeros, whatever it held. @throws as {@link write}. */
  writeZeros(offset: number, lengthBytes: number): Promise<void>;
  /** Fills `into` from `offset`, through the page cache. @throws TransferError `io-error`. */
  read(into: Buffer, offset: number): Promise<void>;
  /**
   * Fills `into`, a slab's first bytes, from the medium and not from the page cache.
   * What follows them in the slab, up to the next 4096, may be overwritten. @throws TransferError `io-error`.
   */
  readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod>;
  /**
   * Everything whose write resolved before this call is on the device when it resolves. After a rejection
   * nothing written since the last success may be believed, and calling again proves nothing (the kernel
   * reports a failed write-back once and may drop the pages): only `durability` calls it.
   * @throws TransferError `io-error`.
   */
  flush(): Promise<void>;
  writeMark(): Promise<WriteMark>;
  close(): Promise<void>;
}
