/**
 * Makes a block that was read back count only since the last write by another program: once another program
 * may have overwritten it, the earlier reading proves nothing.
 */
import { TransferError } from '../../common/errors.ts';
import type { Target, WriteMark } from '../target/target.ts';

/** A program that writes during each of so many complete readings will not stop by itself. */
export const FOREIGN_ROUNDS_MAX = 3;

export interface ForeignWriteEvents {
  /** @param bytes written by others since the target was opened; null where the number is unknown. */
  onForeignWrite?(bytes: number | null): void;
}

export interface ForeignWriteOptions {
  readonly target: Target;
  readonly events: ForeignWriteEvents;
  /**
   * Makes all verified blocks durable only, so that they are read back again.
   * @param isForeign another program has written: blocks that differ need not be the disk's fault.
   */
  readonly doubt: (isForeign: boolean) => void;
}

/** In place of a mark that could not be taken; equal to no other mark. */
const NO_MARK: WriteMark = { foreignBytes: null, stamp: 'unknown' };

export class ForeignWriteWatch {
  readonly #options: ForeignWriteOptions;
  /** Everything verified was read after this mark was taken. */
  #mark: WriteMark | undefined;
  #taking: Promise<WriteMark> | undefined;
  #hasOwnWrites = false;
  #rounds = 0;

  constructor(options: ForeignWriteOptions) {
    this.#options = options;
  }

  /** Await it before the first block is read back. */
  async begin(): Promise<void> {
    if (this.#mark !== undefined) return;
    this.#taking ??= this.#options.target.writeMark().catch(() => NO_MARK);
    this.#mark ??= await this.#taking;
  }

  /** Whether writes of others can be distinguished from ours; undefined before {@link begin}. */
  get tellsWritersApart(): boolean | undefined {
    return this.#mark === undefined ? undefined : this.#mark.foreignBytes !== null;
  }

  noteOwnWrites(): void {
    this.#hasOwnWrites = true;
  }

  /** Finds the writes of others early; works while writes of ours are in progress. */
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
   * Call it while no write of this process is in progress and everything is flushed.
   * @returns whether everything verified was read after the last write by another program (where writers
   * can't be distinguished: by any program); if not, it has to be read back again.
   * @throws TransferError `io-error`; `foreign-writes` when others have written {@link FOREIGN_ROUNDS_MAX}
   * times.
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
    if (before === undefined || before.lossCount !== mark.lossCount) return false;
    if (mark.foreignBytes !== null) return mark.foreignBytes > (before.foreignBytes ?? 0);
    return before.foreignBytes === null && !this.#hasOwnWrites;
  }
}
