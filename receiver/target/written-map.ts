/**
 * Which parts of a file have been written since it was empty. The others read as zeros (ftruncate,
 * POSIX.1-2017), so zeros need neither be written nor punched there.
 */

/** The smallest block: a block that was never written is seen between two that were. */
const CHUNK_BYTES_MIN = 64 * 1024;
/** 2 MiB of memory at most; chunks of 64 KiB cover a terabyte. */
const CHUNKS_MAX = 2 ** 24;
const BITS = 8;

export class WrittenMap {
  /** One for each chunk: it may hold anything. */
  readonly #bits: Uint8Array;
  readonly #chunkBytes: number;
  readonly #chunkCount: number;

  constructor(sizeBytes: number) {
    this.#chunkBytes = CHUNK_BYTES_MIN;
    while (this.#chunkBytes * CHUNKS_MAX < sizeBytes) this.#chunkBytes *= 2;
    this.#chunkCount = Math.ceil(sizeBytes / this.#chunkBytes);
    this.#bits = new Uint8Array(Math.ceil(this.#chunkCount / BITS));
  }

  /** To be called before a write begins, because a failed write may leave anything. */
  add(offset: number, lengthBytes: number): void {
    const end = Math.ceil((offset + lengthBytes) / this.#chunkBytes);
    for (let chunk = Math.floor(offset / this.#chunkBytes); chunk < end; chunk++) {
      const at = Math.floor(chunk / BITS);
      this.#bits[at] = (this.#bits[at] ?? 0) | (1 << (chunk % BITS));
    }
  }

  /** The first bytes of the range in one state: `[how many, whether they may hold anything]`. */
  runFrom(offset: number, lengthBytes: number): [lengthBytes: number, isWritten: boolean] {
    const first = Math.floor(offset / this.#chunkBytes);
    const isWritten = this.#isWritten(first);
    let chunk = first + 1;
    const end = offset + lengthBytes;
    while (chunk * this.#chunkBytes < end && this.#isWritten(chunk) === isWritten) {
      // Long runs are the rule: eight chunks at once.
      const isWhole = chunk % BITS === 0 && chunk + BITS <= this.#chunkCount;
      chunk += isWhole && this.#bits[chunk / BITS] === (isWritten ? 0xff : 0) ? BITS : 1;
    }
    return [Math.min(end, chunk * this.#chunkBytes) - offset, isWritten];
  }

  /** Nothing is known past the end. */
  #isWritten(chunk: number): boolean {
    if (chunk >= this.#chunkCount) return true;
    return ((this.#bits[Math.floor(chunk / BITS)] ?? 0) & (1 << (chunk % BITS))) !== 0;
  }
}
