/**
 * A target without room refuses a block only when all of it has travelled. One of those that were refused
 * tries again, and the others wait until it has got through.
 */
import { abortable } from '../../common/abortable.ts';

export class FullTarget {
  /** undefined: nobody has been refused, or somebody has got through since. */
  #trial: PromiseWithResolvers<void> | undefined;

  /**
   * To be called by one that was refused.
   * @returns whether it is the one that tries again, and then calls {@link end}.
   */
  begin(): boolean {
    if (this.#trial !== undefined) return false;
    this.#trial = Promise.withResolvers();
    return true;
  }

  /** The one that tried has got through, or has given up. */
  end(): void {
    this.#trial?.resolve();
    this.#trial = undefined;
  }

  /** Until the end of the trial. @throws the signal's reason. */
  async ended(signal: AbortSignal): Promise<void> {
    await abortable(this.#trial?.promise ?? Promise.resolve(), signal);
  }
}
