/** What keeps a transfer from moving, and since when; for people and programs. Pure. */
import type { ErrorCode, TransferError } from '../../common/errors.ts';
import { reasonOf } from '../../common/errors.ts';
import { redact } from '../../common/text.ts';
import { formatDuration } from '../../common/units.ts';

/** A shorter one is not worth a line when it is over. */
const TOLD_MS_MIN = 10_000;
/** TCP repeats several times within that what was lost: something is wrong. */
export const STANDSTILL_MS = 10_000;

/** What is waited for, for how long already, and for how long still; Infinity where not time decides. */
export interface Waiting {
  /** `standstill`: nothing has failed, and nothing moves. */
  readonly code: ErrorCode | 'standstill';
  readonly what: string;
  readonly forMs: number;
  readonly giveUpInMs: number;
}

/** From the first failure, or the last movement before it, until something moves again. */
export class Trouble {
  #error: TransferError | undefined;
  #giveUpAtMs = Infinity;
  #sinceMs: number | undefined;
  #isStill = false;
  #endedMs = -Infinity;

  /** A failure that is tried again. @param giveUpInMs Infinity where not time decides. */
  note(error: TransferError, nowMs: number, giveUpInMs: number): void {
    this.#sinceMs ??= nowMs;
    this.#error = error;
    this.#giveUpAtMs = nowMs + giveUpInMs;
  }

  /** Nothing has moved for so long, failure or not. */
  noteStandstill(standstillMs: number, nowMs: number): void {
    // Connections are looked at every few seconds only: something may have arrived since.
    const sinceMs = Math.max(nowMs - standstillMs, this.#endedMs);
    this.#isStill = nowMs - sinceMs >= STANDSTILL_MS;
    if (this.#isStill) this.#sinceMs ??= sinceMs;
    else if (this.#error === undefined) this.#sinceMs = undefined;
  }

  /** Something has arrived. @returns how long there was trouble, where that was long enough to be told. */
  end(nowMs: number): number | undefined {
    const lengthMs = nowMs - (this.#sinceMs ?? nowMs);
    this.#error = this.#sinceMs = undefined;
    this.#isStill = false;
    this.#endedMs = nowMs;
    return lengthMs >= TOLD_MS_MIN ? lengthMs : undefined;
  }

  /** Whether the line itself has failed, not something behind it. */
  get isOfLine(): boolean {
    return this.#error?.code === 'connection-failed';
  }

  /** Milliseconds since it began; undefined while there is none. */
  lengthMs(nowMs: number): number | undefined {
    return this.#sinceMs === undefined ? undefined : nowMs - this.#sinceMs;
  }

  /**
   * @param connections open ones: while anything moves on them, a broken one keeps nothing from moving.
   * @returns undefined while nothing is wrong.
   */
  waiting(nowMs: number, connections: number): Waiting | undefined {
    const error = this.#error;
    if (this.#sinceMs === undefined) return undefined;
    const forMs = nowMs - this.#sinceMs;
    const giveUpInMs = error === undefined ? Infinity : Math.max(0, this.#giveUpAtMs - nowMs);
    if (error !== undefined && (!this.isOfLine || connections === 0))
      return { code: error.code, what: whatOf(error), forMs, giveUpInMs };
    if (!this.#isStill) return undefined;
    return { code: 'standstill', what: standstillOf(connections), forMs, giveUpInMs };
  }
}

/** In the order of what a narrow terminal shows first. */
export interface TroubleText {
  readonly what: string;
  readonly since: string;
  /** Empty where no time limit applies. */
  readonly giveUp: string;
}

export function textOf({ what, forMs, giveUpInMs }: Waiting): TroubleText {
  const giveUp = giveUpInMs === Infinity ? '' : `; giving up in ${formatDuration(giveUpInMs)}`;
  return { what, since: `, for ${formatDuration(forMs)}`, giveUp };
}

/** Whole seconds; without `giveUpInSeconds` where not time decides. */
export function waitingEvent({ code, what, forMs, giveUpInMs }: Waiting): Record<string, unknown> {
  const giveUp = giveUpInMs === Infinity ? {} : { giveUpInSeconds: Math.round(giveUpInMs / 1000) };
  return { event: 'waiting', code, message: what, seconds: Math.round(forMs / 1000), ...giveUp };
}

function whatOf(error: TransferError): string {
  if (isOfTarget(error)) return `the target fails: ${redact(error.message)}`;
  const isLine = error.code === 'connection-failed' && error.cause !== undefined;
  return `waiting for the receiver: ${redact(isLine ? reasonOf(error.cause) : error.message)}`;
}

function standstillOf(connections: number): string {
  if (connections === 0) return 'waiting for the receiver: connecting';
  const all = connections === 1 ? 'the connection' : `any of ${connections} connections`;
  return `waiting for the receiver: nothing moves on ${all}`;
}

/** The line is fine, the disk at its end is not. */
export function isOfTarget(error: TransferError): boolean {
  return error.code === 'io-error';
}
