/**
 * The only maker of block buffers. Slabs are page-aligned parts of a WebAssembly.Memory, the one kind of
 * memory in Node that O_DIRECT accepts: every Buffer and ArrayBuffer gets EINVAL. The pool bounds the memory
 * of the process: callers that find it empty wait in line.
 */
import assert from 'node:assert/strict';
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

export class SlabPool {
  readonly slabSizeBytes: number;
  readonly slabCount: number;
  readonly #free: Buffer<ArrayBuffer>[] = [];
  readonly #permits: Semaphore;

  /** @param slabSizeBytes rounded up to the alignment. */
  constructor(options: { slabSizeBytes: number; slabCount: number }) {
    assert(options.slabCount > 0 && options.slabSizeBytes > 0);
    this.slabSizeBytes = Math.ceil(options.slabSizeBytes / SLAB_ALIGNMENT_BYTES) * SLAB_ALIGNMENT_BYTES;
    this.slabCount = options.slabCount;
    this.#permits = new Semaphore(this.slabCount);
    const perMemory = Math.max(1, Math.floor(WASM_MEMORY_BYTES / this.slabSizeBytes));
    for (let left = this.slabCount; left > 0; left -= perMemory) this.#addMemory(Math.min(left, perMemory));
  }

  get freeCount(): number {
    return this.slabCount - this.#permits.takenCount;
  }

  /** The next free slab, first come, first served. @throws the signal's reason when it aborts first. */
  async take(signal?: AbortSignal): Promise<Slab> {
    const permit = await this.#permits.take(signal);
    const bytes = this.#free.pop();
    assert(bytes !== undefined);
    let isLent = true;
    return {
      bytes,
      [Symbol.dispose]: () => {
        if (!isLent) return;
        isLent = false;
        this.#free.push(bytes);
        permit[Symbol.dispose]();
      },
    };
  }

  #addMemory(slabCount: number): void {
    const pages = Math.ceil((this.slabSizeBytes * slabCount) / WASM_PAGE_BYTES);
    // Untouched pages cost address space, not memory.
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    for (let at = slabCount - 1; at >= 0; at--) {
      this.#free.push(Buffer.from(buffer, at * this.slabSizeBytes, this.slabSizeBytes));
    }
  }
}
