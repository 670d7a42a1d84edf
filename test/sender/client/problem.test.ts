import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { problemResponse } from '../../../receiver/http/json-response.ts';
import { failureOf, type HttpResponse } from '../../../sender/client/problem.ts';

async function replyTo(error: TransferError): Promise<HttpResponse> {
  const response = problemResponse(error);
  return {
    status: response.status,
    body: Buffer.from(await response.arrayBuffer()),
    header: (name) => response.headers.get(name) ?? undefined,
  };
}

function replyOf(status: number, body: string): HttpResponse {
  return { status, body: Buffer.from(body), header: () => undefined };
}

test('what the receiver refuses arrives with its sentence, its hint and its numbers', async () => {
  const refusal = new TransferError('busy', 'all memory is in use: 5 of 5', {
    hint: 'wait',
    details: { blocks: [[5, 1]] },
    retryAfterSeconds: 7,
  });
  const { code, message, hint, details, retryAfterSeconds } = failureOf(
    await replyTo(refusal),
    'PUT /blocks/5',
  );
  assert.deepEqual([code, message, hint, retryAfterSeconds], ['busy', refusal.message, 'wait', 7]);
  assert.deepEqual(details['blocks'], [[5, 1]]);
});

test('a refusal without a hint gets none', async () => {
  const failure = failureOf(
    await replyTo(new TransferError('sealed', 'it is sealed; so there')),
    'PUT /zero',
  );
  assert.deepEqual([failure.message, failure.hint], ['it is sealed; so there', undefined]);
});

test('an answer that is no problem document is told by its status', () => {
  for (const body of ['', '<html>', '[]', '"x"', 'null', '{"detail":7,"hint":7}']) {
    const failure = failureOf(replyOf(503, body), 'GET /transfer');
    assert.equal(failure.message, 'GET /transfer was answered with status 503', body);
    assert.equal(failure.code, 'busy');
  }
  assert.equal(failureOf(replyOf(401, ''), 'x').code, 'token-invalid');
  assert.equal(failureOf(replyOf(418, '{"code":"teapot"}'), 'x').code, 'bad-answer');
});

test('nothing in an answer steers the terminal', () => {
  const failure = failureOf(replyOf(500, '{"detail":"a\\u001b[2Jb","hint":"c\\u0007d"}'), 'x');
  assert.deepEqual([failure.message, failure.hint], ['a?[2Jb', 'c?d']);
});
