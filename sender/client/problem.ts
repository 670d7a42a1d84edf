/** What the receiver says when it did not do what it was asked for (RFC 9457). Pure and total. */
import { ERROR_CODES, TransferError, isErrorCode, type ErrorCode } from '../../common/errors.ts';
import { printable } from './answer-text.ts';

export interface HttpResponse {
  readonly status: number;
  readonly body: Buffer;
  readonly header: (name: string) => string | undefined;
}

/** The failure that the receiver names, or the nearest one for its status. @param what was asked for. */
export function failureOf(reply: HttpResponse, what: string): TransferError {
  let problem: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(reply.body.toString('utf8'));
    if (typeof value === 'object' && value !== null) problem = { ...value };
  } catch {
    // Not from our receiver, or a HEAD: the status has to do.
  }
  const { code, detail } = problem;
  const hint = typeof problem['hint'] === 'string' ? problem['hint'] : undefined;
  const said = typeof detail === 'string' ? detail : `${what} was answered with status ${reply.status}`;
  // The detail ends with the hint, for those who read nothing else.
  const message = hint !== undefined && said.endsWith(`; ${hint}`) ? said.slice(0, -hint.length - 2) : said;
  const retryAfter = Number(reply.header('retry-after'));
  return new TransferError(isErrorCode(code) ? code : codeOfStatus(reply.status), printable(message), {
    details: problem,
    ...(hint === undefined ? {} : { hint: printable(hint) }),
    ...(retryAfter > 0 ? { retryAfterSeconds: retryAfter } : {}),
  });
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return 'token-invalid';
  const known: readonly ErrorCode[] = ['block-absent', 'sealed', 'too-slow', 'busy', 'no-space', 'io-error'];
  return known.find((code) => ERROR_CODES[code].status === status) ?? 'bad-answer';
}
