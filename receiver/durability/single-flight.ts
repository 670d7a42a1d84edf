/** Shares runs of one job: callers during a run all get the next run. */

export class SharedRun {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;
  #queued: Promise<void> | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Resolves when a run that began after this call has ended; rejects as the run does. */
  async run(): Promise<void> {
    this.#queued ??= this.#runAfter(this.#running);
    await this.#queued;
  }

  async #runAfter(previous: Promise<void> | undefined): Promise<void> {
    if (previous !== undefined) await Promise.allSettled([previous]);
    else await Promise.resolve();
    this.#running = this.#queued;
    this.#queued = undefined;
    try {
      await this.#work();
    } finally {
      this.#running = undefined;
    }
  }
}
