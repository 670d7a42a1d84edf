/**
 * A target in memory that keeps apart what was written and what was flushed, as kernel and disk do, and
 * that fails when it is told to. After a failed flush it behaves as Linux does: the error is reported
 * once, the pages count as clean though some never reached the medium, reads still show them, and the
 * next flush succeeds.
 */
import { TransferError } from '../../common/errors.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { Target, TargetIdentity, WriteMark } from '../../receiver/target/target.ts';

export type Operation = 'write' | 'flush' | 'read';

export interface Fault {
  readonly operation: Operation;
  /** 1, the default, is the next one. */
  readonly nth?: number;
  readonly errno: 'EIO' | 'ENOSPC';
  /** Every later one too, until the faults are cleared. */
  readonly isForEver?: boolean;
}

/** Holds operations of one kind back in their middle, until it is opened; disposing opens it. */
export interface Gate extends Disposable {
  /** Resolves when this many operations stand before it or went through. */
  arrived(count?: number): Promise<void>;
  /** Those who stand before it stay; whoever comes from now on passes. */
  letOthersPass(): void;
  open(): void;
}

const PAGE_BYTES = 4096;
const EMPTY = Buffer.alloc(PAGE_BYTES);

export const MEMORY_IDENTITY: TargetIdentity = {
  kind: 'memory',
  path: '/memory',
  model: null,
  serial: null,
  wwn: null,
  byId: null,
  sizeBytes: null,
  fileId: null,
  logicalSectorBytes: 512,
  description: 'memory',
};

class OpenableGate implements Gate {
  readonly #opened = Promise.withResolvers<void>();
  readonly #waiting: { count: number; resolve: () => void }[] = [];
  #count = 0;
  #isPassing = false;

  async pass(): Promise<void> {
    this.#count++;
    for (const { count, resolve } of this.#waiting) if (this.#count >= count) resolve();
    if (!this.#isPassing) await this.#opened.promise;
  }

  letOthersPass(): void {
    this.#isPassing = true;
  }

  async arrived(count = 1): Promise<void> {
    if (this.#count >= count) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ count, resolve });
    await promise;
  }

  open(): void {
    this.#opened.resolve();
  }

  [Symbol.dispose](): void {
    this.open();
  }
}

export class MemoryTarget implements Target {
  readonly identity: TargetIdentity;
  readonly isSizeFixed = false;
  readonly sectorBytes = null;
  readonly lengthBytes = async (): Promise<number> => await Promise.resolve(this.#sizeBytes);
  readonly roomBytes = async (): Promise<number> => await Promise.resolve(16 * 1024 * 1024);
  readonly #capacityBytes: number;
  #sizeBytes = 0;
  /** Page number → its bytes, which are never changed but replaced; what reads show. */
  readonly #written: Map<number, Buffer>;
  /** What a power cut leaves. */
  readonly #flushed: Map<number, Buffer>;
  readonly #dirty = new Set<number>();
  readonly #gates = new Map<Operation, OpenableGate>();
  #faults: { fault: Fault; left: number }[] = [];
  #isClosed = false;
  /** Whether the writes of others are counted apart, as on a device, or not, as with a file. */
  readonly #tellsWritersApart: boolean;
  #foreignBytes = 0;
  #changeCount = 0;

  constructor(
    options: {
      identity?: TargetIdentity;
      capacityBytes?: number;
      flushed?: Map<number, Buffer>;
      tellsWritersApart?: boolean;
    } = {},
  ) {
    this.identity = options.identity ?? MEMORY_IDENTITY;
    this.#capacityBytes = options.capacityBytes ?? Infinity;
    this.#tellsWritersApart = options.tellsWritersApart ?? true;
    this.#flushed = options.flushed ?? new Map();
    this.#written = new Map(this.#flushed);
    if (options.flushed !== undefined) this.#sizeBytes = this.#capacityBytes;
  }

  arm(fault: Fault): void {
    this.#faults.push({ fault, left: fault.nth ?? 1 });
  }

  clearFaults(): void {
    this.#faults = [];
  }

  /** From now on, and until the gate opens, operations of this kind stop in their middle. */
  hold(operation: 'write' | 'flush'): Gate {
    const gate = new OpenableGate();
    this.#gates.set(operation, gate);
    return gate;
  }

  release(operation: 'write' | 'flush'): void {
    this.#gates.get(operation)?.open();
    this.#gates.delete(operation);
  }

  /**
   * What stands on the medium when the power goes now.
   * @param writtenBack how much of what was not flushed, or is on its way, the disk wrote on its own account.
   */
  crash(writtenBack: 'none' | 'all' = 'none'): MemoryTarget {
    const flushed = new Map(this.#flushed);
    if (writtenBack === 'all') for (const page of this.#dirty) flushed.set(page, this.#pageOf(page));
    return new MemoryTarget({ identity: this.identity, capacityBytes: this.#sizeBytes, flushed });
  }

  /** What a read would give, at once. */
  bytesAt(offset: number, lengthBytes: number): Buffer {
    const bytes = Buffer.alloc(lengthBytes);
    for (let done = 0; done < lengthBytes;) {
      const within = (offset + done) % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - within, lengthBytes - done);
      this.#pageOf(Math.floor((offset + done) / PAGE_BYTES)).copy(bytes, done, within, within + length);
      done += length;
    }
    return bytes;
  }

  async confirm(): Promise<void> {}

  async prepare(sizeBytes: number): Promise<void> {
    this.#assertOpen();
    if (sizeBytes > this.#capacityBytes) {
      throw new TransferError('target-too-small', `memory is too small: ${this.#capacityBytes} bytes`);
    }
    this.#sizeBytes = sizeBytes;
    return Promise.resolve();
  }

  async write(bytes: Buffer, offset: number): Promise<void> {
    await this.#writeHalves(bytes.length, (from, to) => this.#put(bytes.subarray(from, to), offset + from));
  }

  async writeZeros(offset: number, lengthBytes: number): Promise<void> {
    await this.#writeHalves(lengthBytes, (from, to) => this.#put(Buffer.alloc(to - from), offset + from));
  }

  async read(into: Buffer, offset: number): Promise<void> {
    this.#assertOpen();
    this.#fail(this.#strike('read'), 'read');
    if (offset + into.length > this.#sizeBytes)
      throw new TransferError('io-error', 'memory ends before that');
    await Promise.resolve();
    this.bytesAt(offset, into.length).copy(into);
  }

  /** From the medium: what was not flushed does not show. */
  async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    this.#assertOpen();
    this.#fail(this.#strike('read'), 'read');
    await Promise.resolve();
    this.crash().bytesAt(offset, into.length).copy(into);
    return 'direct';
  }

  async flush(): Promise<void> {
    this.#assertOpen();
    const fault = this.#strike('flush');
    const covered = new Map([...this.#dirty].map((page) => [page, this.#pageOf(page)]));
    await (this.#gates.get('flush')?.pass() ?? Promise.resolve());
    if (fault !== undefined) {
      // Every other page made it; none is tried again.
      for (const page of this.#dirty) if (page % 2 === 0) this.#flushed.set(page, this.#pageOf(page));
      this.#dirty.clear();
      return this.#fail(fault, 'flush');
    }
    for (const [page, bytes] of covered) {
      this.#flushed.set(page, bytes);
      if (this.#pageOf(page) === bytes) this.#dirty.delete(page);
    }
  }

  /** Another program writes, and its bytes are on the medium at once. */
  writeAsOther(bytes: Buffer, offset: number): void {
    this.#foreignBytes += bytes.length;
    this.#put(bytes, offset);
    for (const page of this.#dirty) this.#flushed.set(page, this.#pageOf(page));
  }

  async writeMark(): Promise<WriteMark> {
    const [foreignBytes, count] = this.#tellsWritersApart
      ? [this.#foreignBytes, 0]
      : [null, this.#changeCount];
    return await Promise.resolve({ foreignBytes, stamp: String(count) });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  /** The first half at once, the second behind the gate; a failing write leaves it at the first half. */
  async #writeHalves(lengthBytes: number, put: (from: number, to: number) => void): Promise<void> {
    this.#assertOpen();
    const fault = this.#strike('write');
    const half = Math.floor(lengthBytes / 2);
    put(0, half);
    await (this.#gates.get('write')?.pass() ?? Promise.resolve());
    this.#fail(fault, 'write');
    put(half, lengthBytes);
  }

  #put(bytes: Buffer, offset: number): void {
    this.#changeCount++;
    for (let done = 0; done < bytes.length;) {
      const page = Math.floor((offset + done) / PAGE_BYTES);
      const within = (offset + done) % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - within, bytes.length - done);
      const changed = Buffer.from(this.#pageOf(page));
      bytes.copy(changed, within, done, done + length);
      this.#written.set(page, changed);
      this.#dirty.add(page);
      done += length;
    }
  }

  #pageOf(page: number): Buffer {
    return this.#written.get(page) ?? EMPTY;
  }

  /** Counts the operation. @returns the fault that it runs into. */
  #strike(operation: Operation): Fault | undefined {
    let struck: Fault | undefined;
    for (const armed of this.#faults) {
      if (armed.fault.operation !== operation || --armed.left > 0) continue;
      struck ??= armed.fault;
    }
    this.#faults = this.#faults.filter(({ fault, left }) => left > 0 || fault.isForEver === true);
    return struck;
  }

  #fail(fault: Fault | undefined, operation: Operation): void {
    if (fault === undefined) return;
    const code = operation === 'write' && fault.errno === 'ENOSPC' ? 'no-space' : 'io-error';
    const { errno } = fault;
    throw new TransferError(code, `cannot ${operation} memory: ${errno}`, { details: { errno } });
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new Error('the memory target is closed');
  }
}
