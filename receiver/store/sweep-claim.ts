/** The right to delete chunks: one collection at a time, and receivers that seal see that there is one. */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { SWEEP_KEY, SWEEP_RENEWED_MS_MAX, readSweep, type Sweep } from '../../common/store/collecting.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { formatDuration } from '../../common/units.ts';

const RENEW_MS = 60_000;
/**
 * Nothing is deleted with an older claim. A request that was begun before may be repeated for minutes, and
 * must have ended before the claim counts as dead.
 */
const UNRENEWED_MS_MAX = 3 * 60_000;
/** Of two that take over a dead claim, both see the later one by then. */
const SETTLE_MS = 5000;

export class SweepClaim implements AsyncDisposable {
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #id = randomUUID();
  readonly #ending = new AbortController();
  #renewing: Promise<void> = Promise.resolve();
  #renewedMs = 0;
  #lost: TransferError | undefined;

  private constructor(store: ObjectStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @throws TransferError `in-use` while another collection has it; S3Error, Error. */
  static async take(store: ObjectStore, clock: Clock): Promise<SweepClaim> {
    const claim = new SweepClaim(store, clock);
    const found = await readSweep(store);
    if (found !== undefined && found.ageMs < SWEEP_RENEWED_MS_MAX) throw claim.#isTaken(found);
    // Whether it was put shows below: the answer may have been lost.
    await claim.#put(found === undefined);
    if (found !== undefined) await clock.sleep(SETTLE_MS);
    const own = await readSweep(store);
    if (own?.id !== claim.#id) throw claim.#isTaken(own);
    claim.#renewing = claim.#renew();
    return claim;
  }

  /** Call it before each request that deletes. @throws TransferError `in-use`, `connection-failed`. */
  assertHeld(): void {
    if (this.#lost !== undefined) throw this.#lost;
    const ageMs = this.#clock.monotonicMs() - this.#renewedMs;
    if (ageMs < UNRENEWED_MS_MAX) return;
    const what = `stopped deleting: ${this.#name} could not be renewed for ${formatDuration(ageMs)}`;
    throw new TransferError('connection-failed', what, { hint: 'run the same command again' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new Error('it ends'));
    await this.#renewing;
    // What is left of it does not count after ten minutes.
    const found = await readSweep(this.#store).catch(() => undefined);
    if (found?.id === this.#id) await this.#store.delete(SWEEP_KEY).catch(() => {});
  }

  async #renew(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      try {
        await this.#clock.sleep(RENEW_MS, this.#ending.signal);
        const found = await readSweep(this.#store);
        if (found?.id === this.#id) await this.#put(false);
        else this.#lost = this.#isTaken(found);
      } catch {
        // It is tried again; what is deleted meanwhile looks at the time.
      }
      if (this.#lost !== undefined) return;
    }
  }

  async #put(isNew: boolean): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const renewedAt = new Date(await this.#store.nowMs()).toISOString();
    const bytes = Buffer.from(`${JSON.stringify({ renewedAt, id: this.#id })}\n`);
    if (isNew) await this.#store.putNew(SWEEP_KEY, bytes);
    else await this.#store.put(SWEEP_KEY, bytes);
    this.#renewedMs = startMs;
  }

  get #name(): string {
    return `${this.#store.name.store}/${SWEEP_KEY}`;
  }

  #isTaken(found: Sweep | undefined): TransferError {
    const age =
      found === undefined ? '' : `, and was at work ${formatDuration(Math.max(0, found.ageMs))} ago`;
    const what = `another collection has ${this.#name}${age}`;
    const limit = formatDuration(SWEEP_RENEWED_MS_MAX);
    return new TransferError('in-use', what, { hint: `wait for its end; if it was killed, for ${limit}` });
  }
}
