/** How far the receiver says it is with reading the target, and what of that counts as progress. Pure. */

/**
 * A receiver that is restarted, or finds writes of others, reads everything again. More often than this it
 * only pretends to.
 */
const READINGS_MAX = 10;

export class ReadingProgress {
  readonly #total: () => number;
  #furthest = 0;
  #readings = 1;

  /** @param total blocks of the target, as this side knows them. */
  constructor(total: () => number) {
    this.#total = total;
  }

  /**
   * @param count blocks, as the receiver has answered; answers in the order of their requests.
   * @returns whether it is further than before: at most once for each block and reading.
   */
  note(count: number): boolean {
    const reached = Math.min(count, this.#total());
    if (reached < this.#furthest && this.#readings < READINGS_MAX) {
      this.#readings++;
      this.#furthest = reached;
    }
    if (reached <= this.#furthest) return false;
    this.#furthest = reached;
    return true;
  }
}
