/** Which areas of the blocks are unreadable at the source. Lists of all of them are made once a change. */
import { coarsened, joinAreas, type Area } from '../../common/areas.ts';
import { UNREADABLE_AREAS_MAX } from '../../common/protocol/protocol.ts';

/**
 * Areas of all blocks together, some 10 MB. A disk with more is beyond reading sector by sector over the
 * network.
 */
export const UNREADABLE_TOTAL_MAX = 65_536;

export class UnreadableAreas {
  /** Only the few blocks that have any. */
  readonly #byBlock = new Map<number, readonly Area[]>();
  #count = 0;
  #joined: readonly Area[] | undefined;
  #listed: readonly Area[] | undefined;

  /** Of all blocks, before any are joined. */
  get count(): number {
    return this.#count;
  }

  of(index: number): readonly Area[] {
    return this.#byBlock.get(index) ?? [];
  }

  set(index: number, areas: readonly Area[]): void {
    const before = this.of(index);
    if (before.length === 0 && areas.length === 0) return;
    this.#count += areas.length - before.length;
    if (areas.length > 0) this.#byBlock.set(index, areas);
    else this.#byBlock.delete(index);
    this.#joined = undefined;
    this.#listed = undefined;
  }

  /** Of the blocks that have any. */
  indexes(): Iterable<number> {
    return this.#byBlock.keys();
  }

  /** Of all blocks that have any, each with its index. */
  entries(): Iterable<[number, readonly Area[]]> {
    return this.#byBlock.entries();
  }

  /** Those that touch are joined. */
  joined(): readonly Area[] {
    if (this.#joined !== undefined) return this.#joined;
    // By block first: sorting what is in order already takes no time.
    const byIndex = [...this.#byBlock].sort(([a], [b]) => a - b);
    this.#joined = joinAreas(byIndex.flatMap(([, areas]) => areas));
    return this.#joined;
  }

  /** {@link joined}; where there are too many to list, coarser areas that contain them. */
  listed(): readonly Area[] {
    this.#listed ??= coarsened(this.joined(), UNREADABLE_AREAS_MAX);
    return this.#listed;
  }
}
