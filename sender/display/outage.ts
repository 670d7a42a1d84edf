/** What keeps a transfer from moving, and since when; for people and programs. Pure. */
import type { ErrorCode, TransferError } from '../../common/errors.ts';
import { reasonOf } from '../../common/errors.ts';
import { redact } from '../../common/text.ts';
import { formatDuration } from '../../common/units.ts';

/** The end of a shorter outage is not worth a line. */
const NOTED_MS_MIN = 10_000;
/** TCP retransmits several times within that: something is wrong. */
export const STANDSTILL_MS = 10_000;

export interface Waiting {
  /** `standstill`: nothing has failed, but no data moves. */
  readonly code: ErrorCode | 'standstill';
  readonly what: string;
  readonly forMs: number;
  /** Infinity: no time limit applies. */
  readonly giveUpInMs: number;
}

/** From the first failure, or from the last movement before it, until data moves again. */
export class Outage {
  #error: TransferError | undefined;
  #giveUpAtMs = Infinity;
  #sinceMs: number | undefined;
  #isStill = false;
  #endedMs = -Infinity;

  /** A failure that is retried. @param giveUpInMs Infinity: no time limit applies. */
  noteFailure(error: TransferError, nowMs: number, giveUpInMs: number): void {
    this.#sinceMs ??= nowMs;
    this.#error = error;
    this.#giveUpAtMs = nowMs + giveUpInMs;
  }

  /** No data has moved for this time, failure or not. */
  noteStandstill(standstillMs: number, nowMs: number): void {
    // Connections are sampled every few seconds only: data may have arrived since.
    const sinceMs = Math.max(nowMs - standstillMs, this.#endedMs);
    this.#isStill = nowMs - sinceMs >= STANDSTILL_MS;
    if (this.#isStill) this.#sinceMs ??= sinceMs;
    else if (this.#error === undefined) this.#sinceMs = undefined;
  }

  /** Data has arrived. @returns how long the outage was, if that is worth a line. */
  end(nowMs: number): number | undefined {
    const lengthMs = nowMs - (this.#sinceMs ?? nowMs);
    this.#error = this.#sinceMs = undefined;
    this.#isStill = false;
    this.#endedMs = nowMs;
    return lengthMs >= NOTED_MS_MIN ? lengthMs : undefined;
  }

  /** Whether the line itself failed, not what is behind it. */
  get isOfLine(): boolean {
    return this.#error?.code === 'connection-failed';
  }

  /** undefined: there is no outage. */
  lengthMs(nowMs: number): number | undefined {
    return this.#sinceMs === undefined ? undefined : nowMs - this.#sinceMs;
  }

  /**
   * @param connections open ones: while data moves on some, a broken one is not an outage.
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

/** In the order in which a narrow terminal shows them. */
export interface OutageText {
  readonly what: string;
  readonly since: string;
  /** Empty where no time limit applies. */
  readonly giveUp: string;
}

export function textOf({ what, forMs, giveUpInMs }: Waiting): OutageText {
  const giveUp = giveUpInMs === Infinity ? '' : `; giving up in ${formatDuration(giveUpInMs)}`;
  return { what, since: ` for ${formatDuration(forMs)}`, giveUp };
}

/** Whole seconds; without `giveUpInSeconds` where no time limit applies. */
export function waitingEvent({ code, what, forMs, giveUpInMs }: Waiting): Record<string, unknown> {
  const giveUp = giveUpInMs === Infinity ? {} : { giveUpInSeconds: Math.round(giveUpInMs / 1000) };
  return { event: 'waiting', code, message: what, seconds: Math.round(forMs / 1000), ...giveUp };
}

function whatOf(error: TransferError): string {
  if (isOfRoom(error)) return `waiting for room at the receiver: ${redact(error.message)}`;
  if (isOfTarget(error)) return `the target fails: ${redact(error.message)}`;
  const isLine = error.code === 'connection-failed' && error.cause !== undefined;
  return `waiting for the receiver: ${redact(isLine ? reasonOf(error.cause) : error.message)}`;
}

function standstillOf(connections: number): string {
  if (connections === 0) return 'waiting for the receiver: connecting';
  const where = connections === 1 ? 'the connection' : `any of ${connections} connections`;
  return `waiting for the receiver: no data on ${where}`;
}

/** Only somebody who makes room there ends it. */
export function isOfRoom(error: TransferError): boolean {
  return error.code === 'no-space';
}

/** The line works, the disk behind it does not. */
export function isOfTarget(error: TransferError): boolean {
  return error.code === 'io-error';
}
