/** What every block of the target may hold, as far as the requests and the responses say. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { BLOCK_BYTES, BLOCK_COUNT, hexOf, lengthOf, type FuzzBlocks } from './fuzz-blocks.ts';
import type { FuzzRequest } from './request-grammar.ts';

/** Index, state, digest; `-` of an absent block. */
const LISTED = /^(\d+) (absent|written|durable|verified) (-|[0-9a-f]{64})( \S+)?$/;

export class ReceiverModel {
  readonly #path: string;
  /** Of each block: contents of which it has one. */
  readonly #possible: Set<string>[];
  /** Of each block since the last comparison: contents that a request may have written. */
  #written: Set<string>[] = [];
  /** Of one accepted request, where nothing else may have been written. */
  #accepted: Set<string>[] = [];
  readonly #strays = new Set<string>();

  /** @param path of the target: a file that is still all zeros. */
  constructor(path: string, blocks: FuzzBlocks) {
    this.#path = path;
    this.#possible = Array.from({ length: BLOCK_COUNT }, (_, index) => new Set([blocks.of(index, 0).hex]));
    this.#forget();
  }

  #forget(): void {
    this.#written = this.#possible.map(() => new Set());
    this.#accepted = this.#possible.map(() => new Set());
    this.#strays.clear();
  }

  /** To be called before the request is sent. */
  mayWrite({ writes, strays }: FuzzRequest): void {
    for (const [index, hex] of writes) this.#written[index]?.add(hex);
    for (const hex of strays) this.#strays.add(hex);
  }

  /** A 2xx was received. */
  wrote({ writes }: FuzzRequest): void {
    for (const [index, hex] of writes) this.#accepted[index]?.add(hex);
  }

  /**
   * While nothing is in flight: every block on the medium is one that was offered for it, the accepted one
   * where there was no other, and what the receiver lists is what is there.
   * @param listing `GET /blocks` as text.
   */
  async compare(listing: string): Promise<void> {
    const target = await readFile(this.#path);
    const lines = listing.trimEnd().split('\n');
    assert.equal(lines.length, BLOCK_COUNT, 'every block is listed');
    for (const [index, line] of lines.entries()) {
      const at = index * BLOCK_BYTES;
      const held = hexOf(target.subarray(at, at + lengthOf(index)));
      const [, number, state, digest] = LISTED.exec(line) ?? [];
      assert.equal(number, String(index), line);
      if (state !== 'absent') assert.equal(held, digest, `block ${index} is ${state}, but not on the medium`);
      const isAllowed = this.#allowedAt(index).has(held);
      assert(isAllowed, `block ${index} holds what nobody could have written there: ${held}`);
      this.#possible[index] = new Set([held]);
      if (this.#accepted[index]?.size !== 0) assert.notEqual(state, 'absent', `block ${index} was accepted`);
    }
    this.#forget();
  }

  #allowedAt(index: number): Set<string> {
    const [before, written, accepted] = [this.#possible, this.#written, this.#accepted].map(
      (each) => each[index] ?? new Set<string>(),
    );
    if (accepted?.size === 1 && written?.size === 1 && this.#strays.size === 0) return accepted;
    return new Set([...(before ?? []), ...(written ?? []), ...this.#strays]);
  }
}
