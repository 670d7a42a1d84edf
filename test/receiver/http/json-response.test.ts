import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_CODES, TransferError, isErrorCode } from '../../../common/errors.ts';
import { jsonResponse, problemResponse } from '../../../receiver/http/json-response.ts';

async function documentOf(response: Response): Promise<unknown> {
  const text = await response.text();
  assert.match(text, /^\{[^\n]*\}\n$/, 'one line');
  return JSON.parse(text);
}

test('a failure becomes a problem document (RFC 9457) with its code and details', async () => {
  const error = new TransferError('length-mismatch', 'this block has 65536 bytes, the body has 5', {
    details: { expected: 65_536, got: 5 },
    cause: new Error('never shown'),
  });
  const response = problemResponse(error);
  assert.equal(response.status, 422);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
  assert.deepEqual(await documentOf(response), {
    type: 'urn:dd-transfer:problem:length-mismatch',
    title: 'Unprocessable Entity',
    status: 422,
    code: 'length-mismatch',
    detail: 'this block has 65536 bytes, the body has 5',
    expected: 65_536,
    got: 5,
  });
});

test('the hint is in the detail and a member of its own', async () => {
  const response = problemResponse(new TransferError('digest-required', 'no digest', { hint: 'curl -T b' }));
  const { detail, hint } = (await documentOf(response)) as Record<string, unknown>;
  assert.deepEqual({ detail, hint }, { detail: 'no digest; curl -T b', hint: 'curl -T b' });
});

test('every code makes a complete document with the headers that its status requires', async () => {
  for (const [code, { status, kind }] of Object.entries(ERROR_CODES)) {
    assert(isErrorCode(code));
    const response = problemResponse(new TransferError(code, 'cannot do it: a reason'));
    const { headers } = response;
    assert.equal(response.status, status, code);
    // RFC 9110 sections 11.6.1, 15.5.16 and 10.2.3.
    assert.equal(headers.get('www-authenticate'), status === 401 ? 'Bearer' : null, code);
    assert.equal(headers.get('accept-encoding'), status === 415 ? 'zstd, gzip, identity' : null, code);
    assert.equal(headers.get('retry-after'), kind === 'transient' ? '1' : null, code);
    assert.equal(headers.get('connection'), null, code);
    const { title, ...rest } = (await documentOf(response)) as Record<string, unknown>;
    assert.match(String(title), /^[A-Z][A-Za-z -]+$/, code);
    assert.deepEqual(rest, {
      type: `urn:dd-transfer:problem:${code}`,
      status,
      code,
      detail: 'cannot do it: a reason',
    });
  }
});

test('Retry-After has the seconds of the error', () => {
  const error = new TransferError('busy', 'no memory is free', { retryAfterSeconds: 7 });
  assert.equal(problemResponse(error).headers.get('retry-after'), '7');
});

test('a result is JSON with a line feed, and 200 unless another status is given', async () => {
  const value = { index: 7, ranges: [[0, 1]], model: null };
  const response = jsonResponse(value);
  assert.deepEqual([response.status, response.headers.get('content-type')], [200, 'application/json']);
  assert.deepEqual(await documentOf(response), value);
  assert.equal(jsonResponse(value, 202).status, 202);
});
