import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  ERROR_CODES,
  EXIT_STATUS,
  TransferError,
  errnoOf,
  exitStatusOf,
  isErrorCode,
  reasonOf,
  type ErrorCode,
  type ErrorKind,
} from '../../common/errors.ts';

/** The codes in PROTOCOL.md, and those that never leave the process: code, HTTP status, kind, exit status. */
const TABLE = `
  usage                400 usage       2
  interrupted          503 interrupted 130
  token-missing        401 refused     4
  token-invalid        401 refused     4
  token-expired        401 refused     4
  scope                403 refused     4
  pin-mismatch         403 refused     4
  unsafe-environment   403 refused     4
  not-found            404 refused     4
  method-not-allowed   405 refused     4
  block-absent         404 refused     4
  block-out-of-range   404 refused     4
  bad-request          400 refused     4
  digest-required      400 refused     4
  digest-unsupported   400 refused     4
  digest-conflict      400 refused     4
  digest-mismatch      400 corrupt     5
  not-claimed          409 refused     4
  transfer-mismatch    409 refused     4
  sealed               409 refused     4
  incomplete           409 corrupt     5
  size-unknown         409 refused     4
  root-mismatch        409 corrupt     5
  foreign-writes       409 device      5
  target-differs       409 corrupt     5
  precondition         412 refused     4
  too-large            413 refused     4
  too-many-areas       413 refused     4
  unsupported-encoding 415 refused     4
  length-mismatch      422 corrupt     5
  decode-failed        422 corrupt     5
  too-slow             408 transient   6
  busy                 503 transient   6
  draining             503 transient   6
  no-space             507 transient   6
  connection-failed    503 transient   6
  no-progress          503 transient   6
  bad-answer           502 transient   6
  io-error             500 device      5
  source-read          500 device      5
  source-changed       409 corrupt     5
  source-size          409 device      5
  source-spent         409 transient   6
  journal-error        500 device      5
  target-too-small     507 refused     4
  target-refused       409 refused     4
  source-refused       409 refused     4
  state-refused        409 refused     4
  listen-failed        500 refused     4
  login-refused        403 refused     4
  machine-unsuitable   409 refused     4
  in-use               409 transient   6
  journal-in-use       409 refused     4
  verify-failed        409 device      5
  proof-failed         409 corrupt     5
  receipt-invalid      403 refused     4
  internal             500 device      5
`;

test('every code has the status, kind and exit status of the documents', () => {
  const lines = Object.keys(ERROR_CODES)
    .filter((code): code is ErrorCode => isErrorCode(code))
    .map((code) => {
      const error = new TransferError(code, 'cannot do it: a reason');
      return `${code} ${error.status} ${error.kind} ${exitStatusOf(error.kind)}`;
    });
  const expected = TABLE.trim()
    .split('\n')
    .map((line) => line.trim().replaceAll(/ +/g, ' '));
  assert.deepEqual(lines.sort(), expected.sort());
});

test('every kind has its exit status, none of them 0 or that of a bug', () => {
  const kinds: Readonly<Record<ErrorKind, number>> = {
    usage: 2,
    refused: 4,
    transient: 6,
    corrupt: 5,
    device: 5,
    interrupted: 130,
  };
  for (const { kind } of Object.values(ERROR_CODES)) assert.equal(exitStatusOf(kind), kinds[kind]);
  const statuses: readonly number[] = Object.values(EXIT_STATUS);
  assert.deepEqual(
    [...statuses].sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 129, 130, 143],
  );
  assert.equal(EXIT_STATUS.verified, 0);
  assert.equal(EXIT_STATUS.bug, 1);
});

test('only the codes of the table are codes', () => {
  assert(isErrorCode('io-error'));
  for (const value of [
    '',
    'IO-ERROR',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    null,
    500,
    {},
  ]) {
    assert.equal(isErrorCode(value), false);
  }
  fc.assert(fc.property(fc.anything(), (value) => !isErrorCode(value) || typeof value === 'string'));
});

test('an error has its message, cause, hint and details, and its name', () => {
  const cause = new Error('below');
  const error = new TransferError('busy', 'the receiver is busy', {
    cause,
    hint: 'wait',
    details: { errno: 'EIO' },
    retryAfterSeconds: 3,
  });
  assert.equal(String(error), 'TransferError: the receiver is busy');
  assert.deepEqual(
    [error.cause, error.hint, error.details, error.retryAfterSeconds],
    [cause, 'wait', { errno: 'EIO' }, 3],
  );
  const bare = new TransferError('busy', 'x');
  assert.deepEqual([bare.hint, bare.details, bare.retryAfterSeconds], [undefined, {}, undefined]);
  assert.equal(Object.hasOwn(bare, 'cause'), false);
});

test('the reason of a failure is in plain words, found in its causes', () => {
  const system = (code: string): Error => Object.assign(new Error(`${code}: whatever, read`), { code });
  for (const [error, errno, reason] of [
    [system('ENOSPC'), 'ENOSPC', 'no space left on device'],
    [new Error('fetch failed', { cause: system('ECONNREFUSED') }), 'ECONNREFUSED', 'connection refused'],
    [new TransferError('io-error', 'x', { cause: system('EIO') }), 'EIO', 'input/output error'],
    [system('EWEIRD'), 'EWEIRD', 'EWEIRD'],
    [new Error('in words'), undefined, 'in words'],
    [new TransferError('io-error', 'in our words'), undefined, 'in our words'],
    ['a text', undefined, 'a text'],
    [undefined, undefined, 'undefined'],
    [Object.assign(new Error('a number'), { code: 5 }), undefined, 'a number'],
  ] as const) {
    assert.equal(errnoOf(error), errno);
    assert.equal(reasonOf(error), reason);
  }
});

test('a cycle of causes ends the search', () => {
  const round = new Error('round');
  round.cause = round;
  assert.equal(errnoOf(round), undefined);
});
