/** Fields of responses, checked: a field that is not what it should be makes the whole response invalid. */
import { ERROR_CODES, TransferError, type ErrorCode } from '../../common/errors.ts';
import { isProblemCode } from '../../common/protocol/problem-codes.ts';
import { isReadBackMethod, type ReadBackMethod } from '../../common/protocol/read-back.ts';
import { printable } from '../../common/text.ts';
import type { Ticket } from '../../common/trust/ticket.ts';
import { TOKEN_NAMESPACE } from '../../common/trust/token.ts';

const TEXT_LENGTH_MAX = 500;
/** Texts in one list; a disk has up to 128 partitions. */
const TEXTS_MAX = 200;

export interface HttpResponse {
  readonly status: number;
  readonly body: Buffer;
  readonly header: (name: string) => string | undefined;
}

export function badResponse(what: string): TransferError {
  return new TransferError('bad-answer', `the response of the receiver is invalid: ${what}`);
}

export function objectOf(body: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new TransferError('bad-answer', 'the response of the receiver is not JSON', { cause: error });
  }
  if (!isObject(value)) throw badResponse('not an object');
  return { ...value };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function memberOf(value: unknown, name: string): Record<string, unknown> {
  if (!isObject(value)) throw badResponse(`no ${name}`);
  return { ...value };
}

export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

export function countIn(members: Record<string, unknown>, name: string): number {
  const value = members[name];
  if (!isCount(value)) throw badResponse(`no count of ${name}`);
  return value;
}

/** Safe to show, and bounded. */
export function shortened(text: string): string {
  return printable(text.slice(0, TEXT_LENGTH_MAX));
}

/** @returns a {@link shortened} text; null for anything but a string. */
export function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? shortened(value) : null;
}

/** Earlier versions, and a receiver that has read nothing back, do not say it. */
export function readBackIn({ readBack = null }: Record<string, unknown>): ReadBackMethod | null {
  if (readBack === null || isReadBackMethod(readBack)) return readBack;
  throw badResponse('an unknown way of reading back');
}

/** @returns the strings in a list, {@link shortened}; none if it is not a list. */
export function textsIn(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  const texts = value.filter((each: unknown) => typeof each === 'string');
  return texts.slice(0, TEXTS_MAX).map(shortened);
}

/** The next step in our own words. What a receiver advises is a part of what it says, and not a hint. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  'token-missing': 'use the ticket that ddt-receive printed last for this target',
  'token-invalid': 'use the ticket that ddt-receive printed last for this target',
  'token-expired': 'restart ddt-receive on the same target: it prints a new ticket for the same transfer',
};

/** The same for somebody who signs the tokens: there is no other ticket to use. */
const HINTS_FOR_SIGNERS: Partial<Record<ErrorCode, string>> = {
  'token-invalid':
    'use the ticket that ddt-receive printed last for this target; its --allow-signers file must have ' +
    `your key, valid now and for ${TOKEN_NAMESPACE}, and both clocks must be right`,
  'token-expired': 'run the same command again: it signs a new token',
};

/**
 * The error that a problem document (RFC 9457) names, or the nearest one for the status of the response. A
 * code that never travels is not obeyed.
 * @param what was requested. @param ticket with which.
 */
export function failureOf(
  response: HttpResponse,
  what: string,
  ticket?: Pick<Ticket, 'receiver'>,
): TransferError {
  let problem: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(response.body.toString('utf8'));
    if (typeof value === 'object' && value !== null) problem = { ...value };
  } catch {
    // Not from our receiver, or a HEAD: the status has to do.
  }
  const code = isProblemCode(problem['code']) ? problem['code'] : codeOfStatus(response.status);
  const hint = (ticket?.receiver === undefined ? undefined : HINTS_FOR_SIGNERS[code]) ?? HINTS[code];
  const message =
    saidIn(problem, hint !== undefined) ?? `${what}: the receiver answered with status ${response.status}`;
  const retryAfter = Number(response.header('retry-after'));
  return new TransferError(code, message, {
    details: problem,
    ...(hint === undefined ? {} : { hint }),
    ...(retryAfter > 0 ? { retryAfterSeconds: retryAfter } : {}),
  });
}

/** @param isAdviceLeftOut the detail ends with the hint, for clients that show nothing else. */
function saidIn({ detail, hint }: Record<string, unknown>, isAdviceLeftOut: boolean): string | undefined {
  if (typeof detail !== 'string') return undefined;
  const advice = typeof hint === 'string' ? `; ${hint}` : '';
  const said =
    isAdviceLeftOut && detail.endsWith(advice) ? detail.slice(0, detail.length - advice.length) : detail;
  return `the receiver says: ${shortened(said)}`;
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return 'token-invalid';
  const known: readonly ErrorCode[] = ['block-absent', 'sealed', 'too-slow', 'busy', 'no-space', 'io-error'];
  return known.find((code) => ERROR_CODES[code].status === status) ?? 'bad-answer';
}
