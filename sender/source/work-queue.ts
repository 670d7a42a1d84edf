/** Which block comes next: those to send again first, then the disk in order. Nothing enumerates the disk. */

export interface WorkItem {
  readonly index: number;
  /** Set when the block was read before: it must not have changed since. */
  readonly digest: Buffer | undefined;
  /** Read for the first time in this run. */
  readonly isFirst: boolean;
}

export class WorkQueue {
  readonly #blockCount: number;
  #next = 0;
  readonly #again: WorkItem[] = [];

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
  }

  /** undefined when there is nothing to do now; lanes that are still busy may put something back. */
  take(): WorkItem | undefined {
    const again = this.#again.shift();
    if (again !== undefined) return again;
    if (this.#next >= this.#blockCount) return undefined;
    return { index: this.#next++, digest: undefined, isFirst: true };
  }

  /** Once more, before anything new. */
  putBack(index: number, digest: Buffer | undefined): void {
    this.#again.push({ index, digest, isFirst: false });
  }

  get isEmpty(): boolean {
    return this.#again.length === 0 && this.#next >= this.#blockCount;
  }
}
