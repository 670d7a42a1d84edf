/**
 * What a person is told and asked about the two disks: at the start, when the target is known, at the end.
 */
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { confirmOverwriting, needsConfirmation } from './confirm.ts';
import { DiskSource } from '../source/disk-source.ts';
import { cautionsOf, hintAfter, notesOf, refuseSameDisk, sourceLine, targetLine } from './disk-lines.ts';
import type { Reporter } from '../display/reporter.ts';
import type { Stream } from '../source/stream.ts';
import { careFor, cautionsAtEnd, cautionsAtStart, type SourceCare } from './source-watch.ts';

/** What was decided beforehand. */
export interface MeetingOptions {
  /** The question before something is overwritten is answered. */
  readonly isConfirmed: boolean;
  readonly isDryRun: boolean;
}

export interface MeetingParts {
  readonly receiverName: string;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

export class Meeting {
  readonly #source: DiskSource | Stream;
  readonly #options: MeetingOptions;
  readonly #parts: MeetingParts;
  #care: SourceCare | undefined;
  #found: TransferStatus | undefined;

  constructor(source: DiskSource | Stream, options: MeetingOptions, parts: MeetingParts) {
    this.#source = source;
    this.#options = options;
    this.#parts = parts;
  }

  /** Names the source, and what is not as it should be with it. */
  async begin(): Promise<void> {
    const { reporter } = this.#parts;
    reporter.fact(sourceLine(this.#source));
    // A pipe comes from somewhere that can't be looked at from here.
    if (!(this.#source instanceof DiskSource)) return;
    this.#care = await careFor(this.#source.disk);
    for (const caution of cautionsAtStart(this.#care)) reporter.warning(caution);
  }

  /** Names the target, before anything is claimed. @throws TransferError to leave it at that. */
  async meet(found: TransferStatus): Promise<void> {
    const { receiverName, reporter, signal } = this.#parts;
    this.#found = found;
    reporter.fact(targetLine(found, receiverName));
    for (const note of notesOf(this.#source, found)) reporter.fact(note);
    if (this.#care === undefined) return;
    refuseSameDisk(this.#care, found);
    for (const caution of cautionsOf(this.#care, found)) reporter.warning(caution);
    const canAnswer = process.stdin.isTTY && process.stderr.isTTY;
    if (this.#options.isConfirmed || this.#options.isDryRun || !canAnswer || !needsConfirmation(found))
      return;
    await confirmOverwriting(found, receiverName, { input: process.stdin, output: process.stderr, signal });
  }

  /** The copy is complete: what is to be known of it, and to be done. */
  async end(): Promise<void> {
    if (this.#care === undefined || this.#found === undefined) return;
    for (const caution of await cautionsAtEnd(this.#care)) this.#parts.reporter.warning(caution);
    const hint = hintAfter(this.#care, this.#found);
    if (hint !== undefined) this.#parts.reporter.hint(hint);
  }
}
