/** Blocks of a disk: read when a lane is free, and read again when they have to be sent again. */
import type { SlabPool } from '../common/buffers.ts';
import type { ZeroDigests } from '../common/digest.ts';
import type { TransferError } from '../common/errors.ts';
import type { Range } from '../common/ranges.ts';
import type { BlockSupply, SuppliedBlock } from './block-supply.ts';
import type { BlockReader, ReadBlock } from './read-block.ts';
import { WorkQueue } from './work-queue.ts';

export class DiskSupply implements BlockSupply {
  readonly #queue: WorkQueue;
  readonly #reader: BlockReader;
  readonly #slabs: SlabPool;

  constructor(options: { reader: BlockReader; slabs: SlabPool; blockCount: number }) {
    this.#queue = new WorkQueue(options.blockCount);
    this.#reader = options.reader;
    this.#slabs = options.slabs;
  }

  get zeroDigests(): ZeroDigests {
    return this.#reader.zeroDigests;
  }

  get isEmpty(): boolean {
    return this.#queue.isEmpty;
  }

  async next(_flush: () => Promise<void>, signal: AbortSignal): Promise<SuppliedBlock | undefined> {
    const item = this.#queue.take();
    if (item === undefined) return undefined;
    using stack = new DisposableStack();
    const slab = stack.use(await this.#slabs.take(signal));
    const block = await this.#reader.read(item.index, slab.bytes);
    if (item.digest !== undefined && !item.digest.equals(block.digest)) {
      throw this.#reader.changed(item.index);
    }
    const owned = stack.move();
    return { block, isFirst: item.isFirst, [Symbol.dispose]: () => owned.dispose() };
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
    // Its lane gives the slab back; the disk has the bytes.
  }

  async check({ index, bytes, digest }: ReadBlock): Promise<void> {
    const again = await this.#reader.read(index, bytes);
    if (!again.digest.equals(digest)) throw this.#reader.changed(index);
  }

  differsFromSealed(index: number): TransferError {
    return this.#reader.differsFromSealed(index);
  }
}
