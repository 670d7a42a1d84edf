/** The root over the digests of all blocks: of a large table it takes seconds, so it is remembered. */
import { createHash } from 'node:crypto';
import { othersTurn } from '../../common/event-loop.ts';
import type { BlockTable } from './block-table.ts';

/** Some ten milliseconds on a processor without instructions for SHA-256. */
const CHUNK_BYTES = 4 * 1024 * 1024;

export class TableRoot {
  readonly #table: BlockTable;
  #known: { readonly version: number; readonly root: Buffer } | undefined;

  constructor(table: BlockTable) {
    this.#table = table;
  }

  /**
   * To be called while nothing is written.
   * @returns 32 bytes. @throws AssertionError unless every block is durable.
   */
  async get(): Promise<Buffer> {
    const version = this.#table.contentVersion;
    if (this.#known?.version === version) return this.#known.root;
    const digests = this.#table.allDigests();
    const hash = createHash('sha256');
    for (let at = 0; at < digests.length; at += CHUNK_BYTES) {
      if (at > 0) await othersTurn();
      hash.update(digests.subarray(at, at + CHUNK_BYTES));
    }
    const root = hash.digest();
    // If a block has changed meanwhile, this is the root of no state of the table.
    if (this.#table.contentVersion !== version) return await this.get();
    this.#known = { version, root };
    return root;
  }
}
