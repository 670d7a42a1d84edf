/**
 * Limits what was read back to the time since the last write by anybody else. A block that was read and equal
 * proves nothing any more once another program may have written over it.
 */
import { TransferError } from '../../common/errors.ts';
import type { Target, WriteMark } from '../target/target.ts';

/** Another program that writes each time while everything is read back will not stop by itself. */
export const FOREIGN_ROUNDS_MAX = 3;

export interface ForeignWriteEvents {
  /** @param bytes that others have written since the target was opened; null where only that is known. */
  onForeignWrite?(bytes: number | null): void;
}

export interface ForeignWriteOptions {
  readonly target: Target;
  readonly events: ForeignWriteEvents;
  /**
   * Makes what was verified durable only, to be read back again.
   * @param isForeign others have written: what differs then need not be the disk's fault.
   */
  readonly doubt: (isForeign: boolean) => void;
}

/** In place of a mark that could not be taken; no other one is equal to it. */
const NO_MARK: WriteMark = { foreignBytes: null, stamp: 'unknown' };

export class ForeignWriteWatch {
  readonly #options: ForeignWriteOptions;
  /** Everything verified was read since nobody else has written, by this mark. */
  #mark: WriteMark | undefined;
  #taking: Promise<WriteMark> | undefined;
  #hasOwnWrites = false;
  #rounds = 0;

  constructor(options: ForeignWriteOptions) {
    this.#options = options;
  }

  /** To be awaited before the first block is read back. */
  async begin(): Promise<void> {
    if (this.#mark !== undefined) return;
    this.#taking ??= this.#options.target.writeMark().catch(() => NO_MARK);
    this.#mark ??= await this.#taking;
  }

  /** Whether writes of others can be told from ours; undefined before {@link begin}. */
  get tellsWritersApart(): boolean | undefined {
    return this.#mark === undefined ? undefined : this.#mark.foreignBytes !== null;
  }

  noteOwnWrites(): void {
    this.#hasOwnWrites = true;
  }

  /** While writes are in progress: finds the writes of others early. */
  async look(): Promise<void> {
    const before = this.#mark?.foreignBytes ?? null;
    if (before === null) return;
    const { foreignBytes } = await this.#options.target.writeMark().catch(() => NO_MARK);
    if (foreignBytes === null || foreignBytes <= (this.#mark?.foreignBytes ?? before)) return;
    this.#mark = { foreignBytes, stamp: this.#mark?.stamp ?? '' };
    this.#options.doubt(true);
    this.#options.events.onForeignWrite?.(foreignBytes);
  }

  /**
   * To be called while no write of this process is in progress and everything is flushed.
   * @returns whether everything verified was read since the last write by anybody else (or, where writers
   * can't be told apart, by anybody); if not, it has to be read back again.
   * @throws TransferError `io-error`; `foreign-writes` when others have written again and again.
   */
  async isUnchanged(): Promise<boolean> {
    const before = this.#mark;
    const mark = await this.#options.target.writeMark();
    if (before?.stamp === mark.stamp && before.foreignBytes === mark.foreignBytes) return true;
    const isForeign = this.#isForeign(before, mark);
    this.#mark = mark;
    this.#hasOwnWrites = false;
    this.#options.doubt(isForeign);
    if (!isForeign) return false;
    this.#options.events.onForeignWrite?.(mark.foreignBytes);
    if (++this.#rounds < FOREIGN_ROUNDS_MAX) return false;
    this.#rounds = 0;
    const { path } = this.#options.target.identity;
    throw new TransferError(
      'foreign-writes',
      `another program keeps writing to ${path}: ${FOREIGN_ROUNDS_MAX} times while everything was read back`,
      { hint: `find it with 'fuser -v ${path}' and stop it; then run the same command again to resume` },
    );
  }

  #isForeign(before: WriteMark | undefined, mark: WriteMark): boolean {
    if (before === undefined) return false;
    if (mark.foreignBytes !== null) return mark.foreignBytes > (before.foreignBytes ?? 0);
    return before.foreignBytes === null && !this.#hasOwnWrites;
  }
}
