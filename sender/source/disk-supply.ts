/** Blocks of a disk: read when a lane is free, and read again when they have to be sent again. */
import type { SlabPool } from '../../common/io/buffers.ts';
import type { Range } from '../../common/ranges.ts';
import type { BlockSupply, KnownBlock, NextOptions, SuppliedBlock } from './block-supply.ts';
import type { BlockDescriber, BlockReader, ReadBlock } from './read-block.ts';

export interface WorkItem {
  readonly index: number;
  /** Of a block that was read before: it must not have changed since. */
  readonly digest: Buffer | undefined;
  /** Read for the first time in this run. */
  readonly isFirst: boolean;
}

/** Which block is next: those to send again, then the disk in order. Never lists all blocks of the disk. */
export class WorkQueue {
  readonly #blockCount: number;
  #next = 0;
  readonly #again: WorkItem[] = [];

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
  }

  /** undefined if there is nothing to do now; lanes that are still busy may put something back. */
  take(): WorkItem | undefined {
    const again = this.#again.shift();
    if (again !== undefined) return again;
    if (this.#next >= this.#blockCount) return undefined;
    return { index: this.#next++, digest: undefined, isFirst: true };
  }

  /** To be supplied again, before anything new. */
  putBack(index: number, digest: Buffer | undefined): void {
    this.#again.push({ index, digest, isFirst: false });
  }

  get isEmpty(): boolean {
    return this.#again.length === 0 && this.#next >= this.#blockCount;
  }
}

export class DiskSupply implements BlockSupply {
  readonly #queue: WorkQueue;
  readonly #reader: BlockReader;
  readonly #slabs: SlabPool;
  /** Blocks that had unreadable areas when they were read. */
  readonly #damaged = new Set<number>();

  constructor(options: { reader: BlockReader; slabs: SlabPool; blockCount: number }) {
    this.#queue = new WorkQueue(options.blockCount);
    this.#reader = options.reader;
    this.#slabs = options.slabs;
  }

  get describer(): BlockDescriber {
    return this.#reader.describer;
  }

  get isEmpty(): boolean {
    return this.#queue.isEmpty;
  }

  async next({ readBefore, signal }: NextOptions): Promise<SuppliedBlock | KnownBlock | undefined> {
    const item = this.#queue.take();
    if (item === undefined) return undefined;
    const { index, isFirst } = item;
    const known = isFirst ? await readBefore(index) : undefined;
    if (known !== undefined) return { known: { index, digest: known }, [Symbol.dispose]: () => {} };
    using stack = new DisposableStack();
    const slab = stack.use(await this.#slabs.take(signal));
    const block = await this.#read(item, slab.bytes, signal);
    const owned = stack.move();
    return { block, isFirst, [Symbol.dispose]: () => owned.dispose() };
  }

  putBack(index: number, digest: Buffer | undefined): void {
    this.#queue.putBack(index, digest);
  }

  sendAgain(ranges: readonly Range[]): void {
    for (const [first, count] of ranges) {
      for (let index = first; index < first + count; index++) this.#queue.putBack(index, undefined);
    }
  }

  release(): void {
    // Nothing is kept: the lane has given its slab back, and the disk has the bytes.
  }

  async check(block: ReadBlock, signal: AbortSignal): Promise<void> {
    await this.#read(block, block.bytes, signal);
  }

  /** A block that was read before in this run must not have changed. */
  async #read(
    { index, digest }: Omit<WorkItem, 'isFirst'>,
    into: Buffer<ArrayBuffer>,
    signal: AbortSignal,
  ): Promise<ReadBlock> {
    const block = await this.#reader.read(index, into, signal);
    const wasDamaged = this.#damaged.has(index);
    if (digest !== undefined && !digest.equals(block.digest)) throw this.#reader.changed(block, wasDamaged);
    // The same bytes were read without an error before: they are zeros.
    if (digest !== undefined && !wasDamaged) return { ...block, unreadable: [] };
    if (block.unreadable.length > 0) this.#damaged.add(index);
    return block;
  }
}
