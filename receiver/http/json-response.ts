/** JSON responses: results, and failures as problem documents (RFC 9457) without a stack. */
import { STATUS_CODES } from 'node:http';
import type { TransferError } from '../../common/errors.ts';
import { PROBLEM_TYPE_PREFIX, TYPE_PROBLEM } from '../../common/protocol/protocol.ts';

/** @param isBare for strangers: it does not name the program. */
export function problemResponse(error: TransferError, { isBare = false } = {}): Response {
  const headers: Record<string, string> = { 'content-type': TYPE_PROBLEM };
  if (error.status === 401) headers['www-authenticate'] = 'Bearer';
  if (error.status === 415) headers['accept-encoding'] = 'zstd, gzip, identity';
  if (error.kind === 'transient') headers['retry-after'] = String(error.retryAfterSeconds ?? 1);
  const document = {
    ...(isBare ? {} : { type: PROBLEM_TYPE_PREFIX + error.code }),
    title: STATUS_CODES[error.status] ?? 'Error',
    status: error.status,
    code: error.code,
    // People often read this one sentence only: it says what to do as well.
    detail: error.hint === undefined ? error.message : `${error.message}; ${error.hint}`,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...error.details,
  };
  return new Response(`${JSON.stringify(document)}\n`, { status: error.status, headers });
}

/** JSON with a line feed at its end, as a terminal needs it. */
export function jsonResponse(value: unknown, status = 200): Response {
  return new Response(`${JSON.stringify(value)}\n`, {
    status,
    headers: { 'content-type': 'application/json' },
  });
}
