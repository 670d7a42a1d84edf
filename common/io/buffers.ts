/**
 * The only maker of block buffers, but for the thread of zero-runs.ts. Slabs are page-aligned parts of a
 * WebAssembly.Memory, the one kind of memory in Node that O_DIRECT accepts: every Buffer and ArrayBuffer gets
 * EINVAL. Pools bound the memory of the process, each by itself or several over one arena: callers that find
 * it empty wait in line.
 */
import assert from 'node:assert/strict';
import { abortable } from '../abortable.ts';
import { Semaphore } from '../semaphore.ts';

/** Declared neither in TypeScript's `esnext` library nor, without the DOM's types, for Node. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

const WASM_PAGE_BYTES = 65536;
/** A memory has at most 65,536 pages, 4 GiB; a larger pool consists of several. */
const WASM_MEMORY_BYTES = 2 ** 30;
/** O_DIRECT wants addresses aligned to the logical sectors of the device, at most 4096 bytes. */
export const SLAB_ALIGNMENT_BYTES = 4096;

/** A borrowed buffer; belongs to exactly one block until disposed. Disposing twice is harmless. */
export interface Slab extends Disposable {
  readonly bytes: Buffer<ArrayBuffer>;
}

/** A part of a memory that is not lent. */
interface FreePart {
  offset: number;
  lengthBytes: number;
}

interface ArenaMemory {
  readonly buffer: ArrayBuffer;
  /** In order, and no two of them adjacent. */
  readonly free: FreePart[];
}

/**
 * Memory for slabs of several sizes. The lowest part that is large enough is lent, so that no more pages are
 * touched than are needed at once.
 */
export class SlabArena {
  readonly #memories: readonly ArenaMemory[];
  /** First come, first served: small slabs do not keep a large one waiting. */
  readonly #turns = new Semaphore(1);
  #returned = Promise.withResolvers<void>();

  constructor(sizeBytes: number) {
    const starts = Array.from({ length: Math.ceil(sizeBytes / WASM_MEMORY_BYTES) }, (_, at) => at);
    this.#memories = starts.map((at) => {
      const lengthBytes = Math.min(WASM_MEMORY_BYTES, sizeBytes - at * WASM_MEMORY_BYTES);
      return { buffer: newMemory(lengthBytes), free: [{ offset: 0, lengthBytes }] };
    });
  }

  /**
   * @param lengthBytes a multiple of the alignment, and no more than a memory has.
   * @throws the signal's reason when it aborts first.
   */
  async take(lengthBytes: number, signal?: AbortSignal): Promise<Slab> {
    using _turn = await this.#turns.take(signal);
    for (;;) {
      const slab = this.#lend(lengthBytes);
      if (slab !== undefined) return slab;
      await abortable(this.#returned.promise, signal);
    }
  }

  #lend(lengthBytes: number): Slab | undefined {
    for (const { buffer, free } of this.#memories) {
      const at = free.findIndex((part) => part.lengthBytes >= lengthBytes);
      const part = free[at];
      if (part === undefined) continue;
      const { offset } = part;
      part.offset += lengthBytes;
      part.lengthBytes -= lengthBytes;
      if (part.lengthBytes === 0) free.splice(at, 1);
      let isLent = true;
      return {
        bytes: Buffer.from(buffer, offset, lengthBytes),
        [Symbol.dispose]: () => {
          if (isLent) this.#takeBack(free, { offset, lengthBytes });
          isLent = false;
        },
      };
    }
    return undefined;
  }

  #takeBack(free: FreePart[], { offset, lengthBytes }: FreePart): void {
    const found = free.findIndex((part) => part.offset > offset);
    const at = found < 0 ? free.length : found;
    const [before, after] = [free[at - 1], free[at]];
    const own = { offset, lengthBytes };
    const isAfter = before !== undefined && before.offset + before.lengthBytes === offset;
    const isBefore = after?.offset === offset + lengthBytes;
    if (isAfter) [own.offset, own.lengthBytes] = [before.offset, before.lengthBytes + lengthBytes];
    if (isBefore) own.lengthBytes += after.lengthBytes;
    free.splice(isAfter ? at - 1 : at, Number(isAfter) + Number(isBefore), own);
    this.#returned.resolve();
    this.#returned = Promise.withResolvers();
  }
}

export class SlabPool {
  readonly slabSizeBytes: number;
  readonly slabCount: number;
  readonly #arena: SlabArena | undefined;
  readonly #free: Buffer<ArrayBuffer>[] = [];
  readonly #permits: Semaphore;

  /**
   * @param options.slabSizeBytes rounded up to the alignment.
   * @param options.arena shared with other pools; default: memory of its own.
   */
  constructor(options: { slabSizeBytes: number; slabCount: number; arena?: SlabArena | undefined }) {
    assert(options.slabCount > 0 && options.slabSizeBytes > 0);
    this.slabSizeBytes = Math.ceil(options.slabSizeBytes / SLAB_ALIGNMENT_BYTES) * SLAB_ALIGNMENT_BYTES;
    this.slabCount = options.slabCount;
    this.#permits = new Semaphore(this.slabCount);
    this.#arena = options.arena;
    if (this.#arena !== undefined) return;
    const perMemory = Math.max(1, Math.floor(WASM_MEMORY_BYTES / this.slabSizeBytes));
    for (let left = this.slabCount; left > 0; left -= perMemory) this.#addMemory(Math.min(left, perMemory));
  }

  /** Of an arena: as many as are left if no other pool takes any. */
  get freeCount(): number {
    return this.slabCount - this.#permits.takenCount;
  }

  /** The next free slab, first come, first served. @throws the signal's reason when it aborts first. */
  async take(signal?: AbortSignal): Promise<Slab> {
    using held = new DisposableStack();
    held.use(await this.#permits.take(signal));
    const bytes =
      this.#arena === undefined
        ? held.adopt(this.#popFree(), (slab) => this.#free.push(slab))
        : held.use(await this.#arena.take(this.slabSizeBytes, signal)).bytes;
    const lent = held.move();
    return { bytes, [Symbol.dispose]: () => lent.dispose() };
  }

  #popFree(): Buffer<ArrayBuffer> {
    const bytes = this.#free.pop();
    assert(bytes !== undefined);
    return bytes;
  }

  #addMemory(slabCount: number): void {
    const buffer = newMemory(this.slabSizeBytes * slabCount);
    for (let at = slabCount - 1; at >= 0; at--) {
      this.#free.push(Buffer.from(buffer, at * this.slabSizeBytes, this.slabSizeBytes));
    }
  }
}

/** Untouched pages cost address space, not memory. */
function newMemory(lengthBytes: number): ArrayBuffer {
  const pages = Math.ceil(lengthBytes / WASM_PAGE_BYTES);
  return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
}
