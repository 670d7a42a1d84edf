/** Chunks of which only parts are wanted: fetched once, kept for the parts that neighbouring lanes want. */
import { abortable } from '../../common/abortable.ts';
import { SlabPool, type Slab } from '../../common/io/buffers.ts';
import { Semaphore } from '../../common/semaphore.ts';

/** Readers at once, and chunks that are kept when none of them reads any more. */
export const KEPT_CHUNKS_MAX = 4;

interface Kept<State> {
  readonly index: number;
  slab: Slab | undefined;
  state: Promise<State>;
  /** Readers, and the fetching. */
  users: number;
  isKept: boolean;
}

export class KeptChunks<State> {
  readonly #fetch: (index: number, into: Buffer<ArrayBuffer>) => Promise<State>;
  readonly #slabs: SlabPool;
  readonly #turns = new Semaphore(KEPT_CHUNKS_MAX);
  /** The last used is the last. */
  readonly #kept: Kept<State>[] = [];

  /** @param fetch into a buffer of `chunkBytes`. */
  constructor(chunkBytes: number, fetch: (index: number, into: Buffer<ArrayBuffer>) => Promise<State>) {
    this.#fetch = fetch;
    this.#slabs = new SlabPool({ slabSizeBytes: chunkBytes, slabCount: 2 * KEPT_CHUNKS_MAX });
  }

  /** @param use gets its bytes until it returns. @throws the signal's reason; what `fetch` throws. */
  async read(
    index: number,
    use: (bytes: Buffer, state: State) => void,
    signal: AbortSignal | undefined,
  ): Promise<State> {
    using _turn = await this.#turns.take(signal);
    const chunk = this.#find(index) ?? this.#begin(index);
    chunk.users++;
    try {
      const state = await abortable(chunk.state, signal);
      if (chunk.slab !== undefined) use(chunk.slab.bytes, state);
      return state;
    } finally {
      this.#leave(chunk);
    }
  }

  #find(index: number): Kept<State> | undefined {
    const at = this.#kept.findIndex((chunk) => chunk.index === index);
    const [chunk] = at < 0 ? [] : this.#kept.splice(at, 1);
    if (chunk !== undefined) this.#kept.push(chunk);
    return chunk;
  }

  #begin(index: number): Kept<State> {
    const { promise, resolve, reject } = Promise.withResolvers<State>();
    const chunk: Kept<State> = { index, slab: undefined, state: promise, users: 1, isKept: true };
    void this.#fill(chunk).then(resolve, (error: unknown) => {
      // The next one who wants it tries again.
      this.#drop(chunk);
      reject(error);
    });
    this.#kept.push(chunk);
    const oldest = this.#kept.length > KEPT_CHUNKS_MAX ? this.#kept[0] : undefined;
    if (oldest !== undefined) this.#drop(oldest);
    return chunk;
  }

  async #fill(chunk: Kept<State>): Promise<State> {
    try {
      chunk.slab = await this.#slabs.take();
      return await this.#fetch(chunk.index, chunk.slab.bytes);
    } finally {
      this.#leave(chunk);
    }
  }

  #drop(chunk: Kept<State>): void {
    const at = this.#kept.indexOf(chunk);
    if (at >= 0) this.#kept.splice(at, 1);
    chunk.isKept = false;
    this.#giveBack(chunk);
  }

  #leave(chunk: Kept<State>): void {
    chunk.users--;
    this.#giveBack(chunk);
  }

  #giveBack({ users, isKept, slab }: Kept<State>): void {
    if (users === 0 && !isKept) slab?.[Symbol.dispose]();
  }
}
