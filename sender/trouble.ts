/** What keeps a transfer from moving, and since when; for people. Pure. */
import type { TransferError } from '../common/errors.ts';
import { reasonOf } from '../common/errors.ts';
import { redact } from '../common/ticket.ts';
import { formatDuration } from '../common/units.ts';

/** A shorter one is not worth a line when it is over. */
const TOLD_MS_MIN = 10_000;

/** In the order of what a narrow terminal shows first. */
export interface TroubleText {
  readonly what: string;
  readonly since: string;
  /** Empty where no time limit applies. */
  readonly giveUp: string;
}

/** From the first failure until something has arrived again. */
export class Trouble {
  #error: TransferError | undefined;
  #sinceMs = 0;
  #giveUpAtMs = Infinity;

  /** A failure that is tried again. @param giveUpInMs Infinity where not time decides. */
  note(error: TransferError, nowMs: number, giveUpInMs: number): void {
    if (this.#error === undefined) this.#sinceMs = nowMs;
    this.#error = error;
    this.#giveUpAtMs = nowMs + giveUpInMs;
  }

  /** Something has arrived. @returns how long there was trouble, where that was long enough to be told. */
  end(nowMs: number): number | undefined {
    if (this.#error === undefined) return undefined;
    this.#error = undefined;
    const lengthMs = nowMs - this.#sinceMs;
    return lengthMs >= TOLD_MS_MIN ? lengthMs : undefined;
  }

  /** Milliseconds since it began; undefined while there is none. */
  lengthMs(nowMs: number): number | undefined {
    return this.#error === undefined ? undefined : nowMs - this.#sinceMs;
  }

  /**
   * @param connections open ones: while there are any, a broken one keeps nothing from moving.
   * @returns undefined while nothing is wrong.
   */
  text(nowMs: number, connections: number): TroubleText | undefined {
    const error = this.#error;
    if (error === undefined || (error.code === 'connection-failed' && connections > 0)) return undefined;
    const giveUpMs = Math.max(0, this.#giveUpAtMs - nowMs);
    return {
      what: whatOf(error),
      since: `, for ${formatDuration(nowMs - this.#sinceMs)}`,
      giveUp: giveUpMs === Infinity ? '' : `; giving up in ${formatDuration(giveUpMs)}`,
    };
  }
}

function whatOf(error: TransferError): string {
  if (isOfTarget(error)) return `the target fails: ${redact(error.message)}`;
  const isLine = error.code === 'connection-failed' && error.cause !== undefined;
  return `waiting for the receiver: ${redact(isLine ? reasonOf(error.cause) : error.message)}`;
}

/** The line is fine, the disk at its end is not. */
export function isOfTarget(error: TransferError): boolean {
  return error.code === 'io-error';
}
