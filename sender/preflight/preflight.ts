/** Shows both disks and checks them before anything is written; and once more after the copy. */
import { diskName } from '../../common/disk/disk-line.ts';
import { TransferError } from '../../common/errors.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import type { Reporter } from '../display/reporter.ts';
import type { Source } from '../source/source.ts';
import type { Stream } from '../source/stream.ts';
import { remainderNote } from '../transfer/send-plan.ts';
import { hintAfter, pairCaveats, refuseOverlap, sourceLine, targetLine } from './disk-lines.ts';
import { askToOverwrite, canAsk } from '../../common/io/overwrite-question.ts';
import { refuseChanged, useCaveats, watchSource, writeCaveats, type WatchedSource } from './source-watch.ts';

export interface PreflightOptions {
  /** Overwrite without asking. */
  readonly isConfirmed: boolean;
  readonly isDryRun: boolean;
  readonly isProbe: boolean;
}

export interface PreflightParts {
  readonly receiverName: string;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

export class Preflight {
  readonly #source: Source | Stream;
  readonly #options: PreflightOptions;
  readonly #parts: PreflightParts;
  /** undefined: it is on another machine, or comes from a pipe. */
  #watched: WatchedSource | undefined;
  #found: TransferStatus | undefined;
  #isShown = false;

  constructor(source: Source | Stream, options: PreflightOptions, parts: PreflightParts) {
    this.#source = source;
    this.#options = options;
    this.#parts = parts;
  }

  async checkSource(): Promise<void> {
    const { reporter } = this.#parts;
    reporter.fact(sourceLine(this.#source));
    if (!this.#source.canReread) return;
    for (const note of this.#source.notes ?? []) reporter.fact(`note     ${note}`);
    if (this.#source.disk === undefined) return;
    this.#watched = await watchSource(this.#source.disk);
    for (const caveat of useCaveats(this.#watched)) reporter.warning(caveat);
  }

  /**
   * Call it before anything is claimed. What was shown before is only checked again.
   * @param isAnswered the user has been asked. @throws TransferError when nothing may be claimed.
   */
  async checkTarget(found: TransferStatus, isAnswered = false): Promise<void> {
    const { receiverName, reporter } = this.#parts;
    if (this.#isShown) {
      if (this.#watched !== undefined) await refuseChanged(this.#watched);
      return;
    }
    this.#found = found;
    reporter.fact(targetLine(found, receiverName));
    const note = remainderNote(found.target, this.#source.sizeBytes);
    if (note !== undefined) reporter.fact(note);
    if (this.#watched !== undefined) {
      await refuseChanged(this.#watched);
      this.refuseShared(found);
      for (const caveat of pairCaveats(this.#watched, found)) reporter.warning(caveat);
    }
    if (!isAnswered && this.#mustAsk(found)) await this.#askToOverwrite(found);
    this.#isShown = true;
  }

  /** @throws TransferError `source-refused` when the source shares bytes with that target, of any disk. */
  refuseShared(found: TransferStatus): void {
    if (this.#watched !== undefined) refuseOverlap(this.#watched, found);
  }

  /** Call it when the copy is complete. @returns whether the source was written meanwhile. */
  async finish(): Promise<boolean> {
    const { reporter } = this.#parts;
    if (this.#watched === undefined || this.#found === undefined) return false;
    const caveats = await writeCaveats(this.#watched);
    for (const caveat of caveats) reporter.warning(caveat);
    const hint = hintAfter(this.#watched, this.#found);
    if (hint !== undefined) reporter.hint(hint);
    return caveats.length > 0;
  }

  /** In a script ddt-receive was given --overwrite-target. */
  #mustAsk({ state, target }: TransferStatus): boolean {
    const isOverwriting = state === 'unclaimed' && target.content.length > 0;
    const { isConfirmed, isDryRun, isProbe } = this.#options;
    return isOverwriting && canAsk() && !isConfirmed && !isDryRun && !isProbe;
  }

  /** @throws TransferError `target-refused` unless the answer is yes; the reason of the signal. */
  async #askToOverwrite({ target }: TransferStatus): Promise<void> {
    const { receiverName, signal } = this.#parts;
    const name = `${diskName(target)} at ${receiverName}`;
    if (await askToOverwrite(name, signal)) return;
    throw new TransferError('target-refused', `nothing was written to ${name}: the answer was not yes`);
  }
}
