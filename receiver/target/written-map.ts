/**
 * Which parts of a file have never been written. A file that was empty and was then made longer reads as
 * zeros there (ftruncate, POSIX.1-2017): zeros need not be written, and no program started to punch holes.
 */

/** As the smallest usual block: what lies between two blocks that were written is seen. */
const PIECE_BYTES_MIN = 64 * 1024;
/** 2 MiB of memory, whatever the size; a terabyte has pieces of 64 KiB still. */
const PIECES_MAX = 2 ** 24;
const BITS = 8;

export class Untouched {
  /** A bit for each piece that may hold anything. */
  readonly #touched: Uint8Array;
  readonly #pieceBytes: number;
  readonly #pieceCount: number;

  constructor(sizeBytes: number) {
    this.#pieceBytes = PIECE_BYTES_MIN;
    while (this.#pieceBytes * PIECES_MAX < sizeBytes) this.#pieceBytes *= 2;
    this.#pieceCount = Math.ceil(sizeBytes / this.#pieceBytes);
    this.#touched = new Uint8Array(Math.ceil(this.#pieceCount / BITS));
  }

  /** To be called before a write begins: one that fails has touched, too. */
  touch(offset: number, lengthBytes: number): void {
    const end = Math.ceil((offset + lengthBytes) / this.#pieceBytes);
    for (let piece = Math.floor(offset / this.#pieceBytes); piece < end; piece++) {
      const at = Math.floor(piece / BITS);
      this.#touched[at] = (this.#touched[at] ?? 0) | (1 << (piece % BITS));
    }
  }

  /** The first bytes of the range that are alike: `[how many, whether they may hold anything]`. */
  runFrom(offset: number, lengthBytes: number): [lengthBytes: number, isTouched: boolean] {
    const first = Math.floor(offset / this.#pieceBytes);
    const isTouched = this.#isTouched(first);
    let piece = first + 1;
    const end = offset + lengthBytes;
    while (piece * this.#pieceBytes < end && this.#isTouched(piece) === isTouched) {
      // Most of a disk is alike: eight pieces at once.
      const isWhole = piece % BITS === 0 && piece + BITS <= this.#pieceCount;
      piece += isWhole && this.#touched[piece / BITS] === (isTouched ? 0xff : 0) ? BITS : 1;
    }
    return [Math.min(end, piece * this.#pieceBytes) - offset, isTouched];
  }

  /** What is behind the end is nobody's promise. */
  #isTouched(piece: number): boolean {
    if (piece >= this.#pieceCount) return true;
    return ((this.#touched[Math.floor(piece / BITS)] ?? 0) & (1 << (piece % BITS))) !== 0;
  }
}
