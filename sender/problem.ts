/** What an answer that is no success means. */
import { ERROR_CODES, TransferError, isErrorCode, type ErrorCode } from '../common/errors.ts';
import { printable } from './replies.ts';

export interface Reply {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly body: Buffer;
}

/** The failure that the receiver names, or the nearest one for its status. */
export function failureOf(reply: Reply, what: string): TransferError {
  let problem: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(reply.body.toString('utf8'));
    if (typeof value === 'object' && value !== null) problem = { ...value };
  } catch {
    // Not from our receiver, or a HEAD: the status has to do.
  }
  const { code, detail } = problem;
  const text =
    typeof detail === 'string' ? printable(detail) : `${what} was answered with status ${reply.status}`;
  const retryAfter = Number(reply.header('retry-after'));
  return new TransferError(isErrorCode(code) ? code : codeOfStatus(reply.status), text, {
    details: problem,
    ...(retryAfter > 0 ? { retryAfterSeconds: retryAfter } : {}),
  });
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return 'token-invalid';
  const known: readonly ErrorCode[] = ['block-absent', 'sealed', 'too-slow', 'busy', 'no-space', 'io-error'];
  return known.find((code) => ERROR_CODES[code].status === status) ?? 'bad-answer';
}
