/**
 * A number for each of very many digests: 24 bytes a slot, outside the heap, of which at most three quarters
 * are taken. Only the first half of a digest counts: two with the same one do not occur by chance.
 */

/** Of four bytes each. */
const KEY_WORDS = 4;
const SLOTS_MIN = 1024;
const LOAD_MAX = 0.75;

export class DigestTable {
  #keys = new Uint32Array(SLOTS_MIN * KEY_WORDS);
  /** NaN: the slot is free. */
  #numbers = new Float64Array(SLOTS_MIN).fill(Number.NaN);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @param at of the digest in `bytes`. @returns undefined where it has none. */
  get(bytes: Buffer, at = 0): number | undefined {
    const number = this.#numbers[this.#slotOf(bytes, at)] ?? Number.NaN;
    return Number.isNaN(number) ? undefined : number;
  }

  /** @param number not NaN. */
  set(bytes: Buffer, number: number, at = 0): void {
    let slot = this.#slotOf(bytes, at);
    if (Number.isNaN(this.#numbers[slot])) {
      if (this.#size >= this.#numbers.length * LOAD_MAX) {
        this.#grow();
        slot = this.#slotOf(bytes, at);
      }
      this.#size++;
      for (let word = 0; word < KEY_WORDS; word++) {
        this.#keys[slot * KEY_WORDS + word] = bytes.readUInt32LE(at + word * 4);
      }
    }
    this.#numbers[slot] = number;
  }

  /** Its own, or the free one that it would have. */
  #slotOf(bytes: Buffer, at: number): number {
    const mask = this.#numbers.length - 1;
    const [second, third] = [bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at + 8)];
    return this.#find(bytes.readUInt32LE(at), second, third, bytes.readUInt32LE(at + 12), mask);
  }

  #find(first: number, second: number, third: number, fourth: number, mask: number): number {
    const keys = this.#keys;
    let slot = first & mask;
    while (!Number.isNaN(this.#numbers[slot])) {
      const key = slot * KEY_WORDS;
      const isSame =
        keys[key] === first &&
        keys[key + 1] === second &&
        keys[key + 2] === third &&
        keys[key + 3] === fourth;
      if (isSame) return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #grow(): void {
    const [keys, numbers] = [this.#keys, this.#numbers];
    const slots = numbers.length * 2;
    this.#keys = new Uint32Array(slots * KEY_WORDS);
    this.#numbers = new Float64Array(slots).fill(Number.NaN);
    for (const [old, number] of numbers.entries()) {
      if (Number.isNaN(number)) continue;
      const key = keys.subarray(old * KEY_WORDS, (old + 1) * KEY_WORDS);
      const slot = this.#find(key[0] ?? 0, key[1] ?? 0, key[2] ?? 0, key[3] ?? 0, slots - 1);
      this.#keys.set(key, slot * KEY_WORDS);
      this.#numbers[slot] = number;
    }
  }
}
