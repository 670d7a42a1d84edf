/** Concurrent callers share one run of the same work. */

export class SingleFlight<Result> {
  readonly #work: () => Promise<Result>;
  #running: Promise<Result> | undefined;

  constructor(work: () => Promise<Result>) {
    this.#work = work;
  }

  /** Joins the current run, or starts one. Settles as the run does. */
  async run(): Promise<Result> {
    this.#running ??= this.#runOnce();
    return await this.#running;
  }

  async #runOnce(): Promise<Result> {
    try {
      return await this.#work();
    } finally {
      this.#running = undefined;
    }
  }
}
