/** The codes that may travel in a problem document. All others of errors.ts are made on this side. */
import type { ErrorCode } from '../errors.ts';

export const PROBLEM_CODES = [
  'token-missing',
  'token-invalid',
  'token-expired',
  'scope',
  'not-found',
  'method-not-allowed',
  'block-absent',
  'block-out-of-range',
  'bad-request',
  'digest-required',
  'digest-unsupported',
  'digest-conflict',
  'digest-mismatch',
  'not-claimed',
  'transfer-mismatch',
  'sealed',
  'incomplete',
  'target-differs',
  'size-unknown',
  'verify-failed',
  'foreign-writes',
  'state-refused',
  'in-use',
  'root-mismatch',
  'precondition',
  'too-large',
  'unsupported-encoding',
  'length-mismatch',
  'decode-failed',
  'too-slow',
  'busy',
  'draining',
  'no-space',
  'target-too-small',
  'target-refused',
  'too-many-areas',
  'io-error',
  'journal-error',
  'internal',
] as const satisfies readonly ErrorCode[];

export type ProblemCode = (typeof PROBLEM_CODES)[number];

export function isProblemCode(value: unknown): value is ProblemCode {
  return PROBLEM_CODES.some((code) => code === value);
}
