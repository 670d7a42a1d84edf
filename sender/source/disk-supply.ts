/** Blocks of a disk: read when a lane is free, and read again when they have to be sent again. */
import { abortable } from '../../common/abortable.ts';
import { ZERO_RUN_BYTES_MAX } from '../../common/io/zero-runs.ts';
import type { SlabPool } from '../../common/io/buffers.ts';
import type { Range } from '../../common/ranges.ts';
import type { BlockSupply, KnownBlock, NextOptions, SuppliedBlock } from './block-supply.ts';
import type { BlockDescriber, BlockReader, ReadBlock } from './read-block.ts';

/** A short hole is read before a run would have begun. */
const ZEROS_BEFORE_RUN = 4;
/** Longer than a run takes unless the disk hangs: then the other lanes continue. */
const RUN_WAIT_MS = 50;

export interface WorkItem {
  readonly index: number;
  /** Of a block that was read before: it must not have changed since. */
  readonly digest: Buffer | undefined;
  /** Read for the first time in this run. */
  readonly isFirst: boolean;
  /** It was read just now, in a run of zeros. */
  readonly isZero?: true;
}

/** Blocks that one lane has taken at once. */
export interface Run {
  readonly first: number;
  readonly count: number;
}

/** Which block is next: those to send again, then the disk in order. Never lists all blocks of the disk. */
export class WorkQueue {
  readonly #blockCount: number;
  #next = 0;
  readonly #again: WorkItem[] = [];
  /** Runs that were taken and given back, without what was handed out since. */
  readonly #runs: { next: number; end: number; isZero: boolean }[] = [];

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
  }

  /** undefined if there is nothing to do now; lanes that are still busy may put something back. */
  take(): WorkItem | undefined {
    const again = this.#again.shift();
    if (again !== undefined) return again;
    const [run] = this.#runs;
    if (run !== undefined) {
      const index = run.next++;
      if (run.next === run.end) this.#runs.shift();
      return { index, digest: undefined, isFirst: true, ...(run.isZero ? { isZero: true } : {}) };
    }
    if (this.#next >= this.#blockCount) return undefined;
    return { index: this.#next++, digest: undefined, isFirst: true };
  }

  /** Takes blocks that nobody has had, unless there is other work. To be given back, read or not. */
  takeRun(countMax: number): Run | undefined {
    if (this.#again.length > 0 || this.#runs.length > 0) return undefined;
    const first = this.#next;
    this.#next = Math.min(this.#blockCount, first + countMax);
    return this.#next > first ? { first, count: this.#next - first } : undefined;
  }

  /** @param zeros so many of them, from the first on, were read and are zeros. */
  giveBack({ first, count }: Run, zeros: number): void {
    const [middle, end] = [first + zeros, first + count];
    if (zeros > 0) this.#runs.push({ next: first, end: middle, isZero: true });
    if (zeros < count) this.#runs.push({ next: middle, end, isZero: false });
  }

  /** To be supplied again, before anything new. */
  putBack(index: number, digest: Buffer | undefined): void {
    this.#again.push({ index, digest, isFirst: false });
  }

  get isEmpty(): boolean {
    return this.#again.length === 0 && this.#runs.length === 0 && this.#next >= this.#blockCount;
  }
}

export class DiskSupply implements BlockSupply {
  readonly #queue: WorkQueue;
  readonly #reader: BlockReader;
  readonly #slabs: SlabPool;
  /** Blocks that had unreadable areas when they were read. */
  readonly #damaged = new Set<number>();
  /** Blocks that were zeros, since the last one that was not. */
  #zerosInRow = 0;
  readonly #runBlocks: number;
  /** The run that is being read. */
  #run: Promise<void> | undefined;
  /** Resolves when it has been read, or takes too long. */
  #pause: Promise<void> | undefined;
  /** What a block of zeros has as its bytes; never changed. */
  readonly #zeros: Buffer<ArrayBuffer>;

  constructor(options: { reader: BlockReader; slabs: SlabPool; blockCount: number; blockSizeBytes: number }) {
    this.#queue = new WorkQueue(options.blockCount);
    this.#reader = options.reader;
    this.#slabs = options.slabs;
    const { blockSizeBytes } = options;
    this.#runBlocks = Math.floor(ZERO_RUN_BYTES_MAX / blockSizeBytes);
    this.#zeros = Buffer.alloc(blockSizeBytes);
  }

  get describer(): BlockDescriber {
    return this.#reader.describer;
  }

  get isEmpty(): boolean {
    return this.#queue.isEmpty && this.#run === undefined;
  }

  async next({ readBefore, signal }: NextOptions): Promise<SuppliedBlock | KnownBlock | undefined> {
    if (this.#zerosInRow >= ZEROS_BEFORE_RUN) this.#startRun();
    await this.#pause;
    let item = this.#queue.take();
    if (item === undefined && this.#run !== undefined) {
      await abortable(this.#run, signal);
      item = this.#queue.take();
    }
    if (item === undefined) return undefined;
    const { index, isFirst } = item;
    if (item.isZero === true) {
      const block = this.#reader.describer.zeros(index, this.#zeros);
      return { block, isFirst, [Symbol.dispose]: () => {} };
    }
    const known = isFirst ? await readBefore(index) : undefined;
    if (known !== undefined) return { known: { index, digest: known }, [Symbol.dispose]: () => {} };
    using stack = new DisposableStack();
    const slab = stack.use(await this.#slabs.take(signal));
    const block = await this.#read(item, slab.bytes, signal);
    if (block.isZero && block.unreadable.length === 0) this.#zerosInRow++;
    else this.#zerosInRow = 0;
    const owned = stack.move();
    return { block, isFirst, [Symbol.dispose]: () => owned.dispose() };
  }

  /** Reads a run while all lanes wait, as they would only get in its way; not for long. */
  #startRun(): void {
    const run = this.#run === undefined ? this.#queue.takeRun(this.#runBlocks) : undefined;
    if (run === undefined) return;
    this.#run = this.#readRun(run);
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, RUN_WAIT_MS);
    this.#pause = Promise.race([this.#run, late.promise]).finally(() => clearTimeout(timer));
  }

  async #readRun(run: Run): Promise<void> {
    const zeros = await this.#reader.countZeros(run.first, run.count);
    this.#queue.giveBack(run, zeros);
    this.#run = undefined;
    if (zeros < run.count) this.#zerosInRow = 0;
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
    { index, digest }: Pick<WorkItem, 'index' | 'digest'>,
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
