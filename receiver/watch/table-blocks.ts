/** The table of blocks, as those who watch see it: nothing is held of it but what the table itself has. */
import { BLOCK_KINDS, codeOf, type BlockKind } from '../../common/watch/block-kinds.ts';
import type { WatchedBlocks } from '../../common/watch/block-marks.ts';
import { CHUNK_BLOCKS, TABLE_KINDS, type BlockTable } from '../durability/block-table.ts';

const CODES = TABLE_KINDS.map((kind) => codeOf(kind));
const [ABSENT = 0] = CODES;

export class TableBlocks implements WatchedBlocks {
  readonly #table: BlockTable;
  /** Blocks that were not what was written, and are to be sent again. */
  readonly #lost: Set<number>;
  readonly chunkBlocks = CHUNK_BLOCKS;
  readonly #codes = new Uint8Array(CHUNK_BLOCKS);

  constructor(table: BlockTable, lost: Set<number>) {
    this.#table = table;
    this.#lost = lost;
  }

  get blockCount(): number {
    return this.#table.blockCount;
  }

  get version(): number {
    return this.#table.version;
  }

  changedAt(chunk: number): number {
    return this.#table.changedAt(chunk);
  }

  codesOf(chunk: number): Uint8Array {
    const kinds = this.#table.kindsOf(chunk);
    const codes = this.#codes.subarray(0, kinds.length);
    for (let at = 0; at < kinds.length; at++) codes[at] = CODES[kinds[at] ?? 0] ?? ABSENT;
    const first = chunk * CHUNK_BLOCKS;
    const { unreadable } = this.#table;
    const mark = (index: number, kind: BlockKind): void => {
      const at = index - first;
      if (at >= 0 && at < codes.length) codes[at] = codeOf(kind);
    };
    const ofChunk = (count: number, few: () => Iterable<number>): Iterable<number> =>
      count <= codes.length ? few() : codes.keys().map((at) => first + at);
    for (const index of ofChunk(unreadable.count, () => unreadable.indexes())) {
      if (unreadable.of(index).length > 0 && this.#table.isDurable(index)) mark(index, 'unreadable');
    }
    for (const index of ofChunk(this.#lost.size, () => this.#lost)) {
      if (this.#lost.has(index) && this.#table.stateOf(index) === 'absent') mark(index, 'lost');
    }
    return codes;
  }

  get counts(): readonly number[] {
    const counts = BLOCK_KINDS.map((kind) => {
      const at = TABLE_KINDS.findIndex((own) => own === kind);
      return at < 0 ? 0 : (this.#table.kindCounts[at] ?? 0);
    });
    const move = (from: BlockKind, to: BlockKind): void => {
      const [before, after] = [BLOCK_KINDS.indexOf(from), BLOCK_KINDS.indexOf(to)];
      counts[before] = (counts[before] ?? 0) - 1;
      counts[after] = (counts[after] ?? 0) + 1;
    };
    for (const index of this.#table.unreadable.indexes()) {
      const state = this.#table.stateOf(index);
      if (state === 'durable') move(this.#table.isListed(index) ? 'listed' : 'durable', 'unreadable');
      else if (state === 'verified') move('verified', 'unreadable');
    }
    for (const index of this.#lost) {
      if (this.#table.stateOf(index) === 'absent') move('absent', 'lost');
    }
    return counts;
  }
}
