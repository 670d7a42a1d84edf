/**
 * Where on the target a block with a given digest is durable: flat arrays and 8 bytes of each digest, because
 * a Map of millions of Buffers would cost hundreds of megabytes. What it says may be wrong or out of date:
 * the receiver compares the whole digest.
 */

/** 12 MiB. The blocks of 1 TiB at 1 MiB; of a larger disk those that became durable last. */
export const DURABLE_DIGESTS_MAX = 1024 * 1024;
const ENTRY_WORDS = 3;
/** An entry is in one of so many neighbouring places. All of them are looked at: entries can be removed. */
const PLACES = 8;

export class DurableDigests {
  /** Two words of the digest, and the index of the block + 1; 0 is empty. */
  readonly #words: Uint32Array;
  readonly #mask: number;
  /** The place that is replaced when all are taken. */
  #victim = 0;

  constructor(blockCount: number) {
    const count = Math.min(DURABLE_DIGESTS_MAX, 2 ** Math.ceil(Math.log2(Math.max(PLACES, 2 * blockCount))));
    this.#words = new Uint32Array(count * ENTRY_WORDS);
    this.#mask = count - 1;
  }

  /** @param digest at least 8 bytes. */
  add(digest: Buffer, index: number): void {
    const at = this.#find(digest) ?? this.#freePlace(digest);
    this.#words[at] = digest.readUInt32LE(0);
    this.#words[at + 1] = digest.readUInt32LE(4);
    this.#words[at + 2] = index + 1;
  }

  /** @returns the index of a block that probably has this digest. */
  lookUp(digest: Buffer): number | undefined {
    const at = this.#find(digest);
    return at === undefined ? undefined : (this.#words[at + 2] ?? 0) - 1;
  }

  remove(digest: Buffer): void {
    const at = this.#find(digest);
    if (at !== undefined) this.#words[at + 2] = 0;
  }

  #find(digest: Buffer): number | undefined {
    const [high, low] = [digest.readUInt32LE(0), digest.readUInt32LE(4)];
    for (let nth = 0; nth < PLACES; nth++) {
      const at = this.#place(high, nth);
      if (this.#words[at + 2] !== 0 && this.#words[at] === high && this.#words[at + 1] === low) return at;
    }
    return undefined;
  }

  #freePlace(digest: Buffer): number {
    const high = digest.readUInt32LE(0);
    for (let nth = 0; nth < PLACES; nth++) {
      const at = this.#place(high, nth);
      if (this.#words[at + 2] === 0) return at;
    }
    this.#victim = (this.#victim + 1) % PLACES;
    return this.#place(high, this.#victim);
  }

  #place(high: number, nth: number): number {
    return ((high + nth) & this.#mask) * ENTRY_WORDS;
  }
}
