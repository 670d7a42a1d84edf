/**
 * The only maker of block buffers. Slabs are page-aligned pieces of WebAssembly.Memory, the one kind of
 * memory in Node that O_DIRECT accepts (every Buffer and ArrayBuffer gets EINVAL). The pool is the memory
 * bound of the process: who finds it empty waits in line.
 */
import assert from 'node:assert/strict';
import { TransferError } from '../errors.ts';

/** Neither TypeScript's `esnext` library nor Node's types declare it without the browser's whole world. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

const WASM_PAGE_BYTES = 65536;
/** One memory has at most 65,536 pages, 4 GiB; a larger pool is made of several. */
const WASM_MEMORY_BYTES = 2 ** 30;
/** O_DIRECT wants addresses aligned to the device's logical sector: 4096 bytes at most. */
export const SLAB_ALIGNMENT_BYTES = 4096;

/** A borrowed buffer; it belongs to exactly one block until it is disposed. Disposing twice is harmless. */
export interface Slab extends Disposable {
  readonly bytes: Buffer<ArrayBuffer>;
}

interface Waiter {
  grant(slab: Slab): void;
}

export class SlabPool {
  readonly slabSizeBytes: number;
  readonly slabCount: number;
  readonly #free: Buffer<ArrayBuffer>[] = [];
  readonly #waiting: Waiter[] = [];

  /** @param slabSizeBytes rounded up to the alignment. */
  constructor(options: { slabSizeBytes: number; slabCount: number }) {
    assert(options.slabCount > 0 && options.slabSizeBytes > 0);
    this.slabSizeBytes = Math.ceil(options.slabSizeBytes / SLAB_ALIGNMENT_BYTES) * SLAB_ALIGNMENT_BYTES;
    this.slabCount = options.slabCount;
    const perMemory = Math.max(1, Math.floor(WASM_MEMORY_BYTES / this.slabSizeBytes));
    for (let left = this.slabCount; left > 0; left -= perMemory) this.#addMemory(Math.min(left, perMemory));
  }

  #addMemory(slabCount: number): void {
    const pages = Math.ceil((this.slabSizeBytes * slabCount) / WASM_PAGE_BYTES);
    // Untouched pages cost address space, not memory.
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    for (let at = slabCount - 1; at >= 0; at--) {
      this.#free.push(Buffer.from(buffer, at * this.slabSizeBytes, this.slabSizeBytes));
    }
  }

  get freeCount(): number {
    return this.#free.length;
  }

  /** The next free slab, first come first served. Rejects with the signal's reason when aborted before. */
  async take(signal?: AbortSignal): Promise<Slab> {
    signal?.throwIfAborted();
    const bytes = this.#waiting.length === 0 ? this.#free.pop() : undefined;
    if (bytes !== undefined) return this.#lend(bytes);
    return await new Promise<Slab>((resolve, reject) => {
      const waiter: Waiter = {
        grant: (slab) => {
          signal?.removeEventListener('abort', abort);
          resolve(slab);
        },
      };
      const abort = (): void => {
        const at = this.#waiting.indexOf(waiter);
        if (at >= 0) this.#waiting.splice(at, 1);
        const reason: unknown = signal?.reason;
        reject(reason instanceof Error ? reason : new TransferError('interrupted', 'interrupted'));
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  #lend(bytes: Buffer<ArrayBuffer>): Slab {
    let isLent = true;
    return {
      bytes,
      [Symbol.dispose]: () => {
        if (!isLent) return;
        isLent = false;
        const next = this.#waiting.shift();
        if (next === undefined) this.#free.push(bytes);
        else next.grant(this.#lend(bytes));
      },
    };
  }
}
