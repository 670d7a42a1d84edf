/** A target in memory that finds blocks by their digests, as an object store does; nobody shares it. */
import type { TransferError } from '../../common/errors.ts';
import type { BlockMap, CopyToSeal, TargetStore } from '../../receiver/target/target.ts';
import { MemoryTarget } from './memory-target.ts';

type Record = Parameters<TargetStore['keep']>[0];

export class FakeStore implements TargetStore {
  map: BlockMap | undefined;
  /** Digests of what it holds, in hexadecimal. */
  readonly held = new Set<string>();
  readonly kept: Record[] = [];
  readonly sealed: CopyToSeal[] = [];
  /** What another receiver has recorded. */
  found: Awaited<ReturnType<TargetStore['current']>>;
  /** Blocks that turn out to be missing at the next seal. */
  missing: readonly number[] = [];
  isLate = false;
  tendCount = 0;
  failure: TransferError | undefined;

  follow(map: BlockMap): void {
    this.map = map;
  }

  async holds(digest: Buffer): ReturnType<TargetStore['holds']> {
    return await Promise.resolve(this.held.has(digest.toString('hex')) ? 'object-store' : undefined);
  }

  async join(): ReturnType<TargetStore['join']> {
    return await Promise.reject(new Error('it is joined when it is taken'));
  }

  async current(): ReturnType<TargetStore['current']> {
    return await this.#answer(this.found);
  }

  async keep(record: Record): Promise<void> {
    await this.#answer(undefined);
    this.kept.push(record);
  }

  async seal(copy: CopyToSeal): Promise<readonly number[]> {
    const missing = await this.#answer(this.missing);
    this.missing = [];
    if (missing.length === 0) this.sealed.push({ ...copy, digests: Buffer.from(copy.digests) });
    return missing;
  }

  async tend(): Promise<boolean> {
    this.tendCount++;
    return await this.#answer(this.isLate);
  }

  async #answer<Result>(result: Result): Promise<Result> {
    if (this.failure !== undefined) throw this.failure;
    return await Promise.resolve(result);
  }
}

export class FakeStoreTarget extends MemoryTarget {
  readonly store = new FakeStore();
}
