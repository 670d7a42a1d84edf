import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { problemResponse } from '../../../receiver/http/json-response.ts';
import { failureOf, type HttpResponse } from '../../../sender/client/response-fields.ts';

async function responseFor(error: TransferError): Promise<HttpResponse> {
  const response = problemResponse(error);
  return {
    status: response.status,
    body: Buffer.from(await response.arrayBuffer()),
    header: (name) => response.headers.get(name) ?? undefined,
  };
}

function responseOf(status: number, body: string): HttpResponse {
  return { status, body: Buffer.from(body), header: () => undefined };
}

test('a refusal arrives with its message, hint and details', async () => {
  const refusal = new TransferError('busy', 'all memory is in use: 5 of 5', {
    hint: 'wait',
    details: { blocks: [[5, 1]] },
    retryAfterSeconds: 7,
  });
  const { code, message, hint, details, retryAfterSeconds } = failureOf(
    await responseFor(refusal),
    'PUT /blocks/5',
  );
  assert.deepEqual([code, message, hint, retryAfterSeconds], ['busy', refusal.message, 'wait', 7]);
  assert.deepEqual(details['blocks'], [[5, 1]]);
});

test('a refusal without a hint stays without one', async () => {
  const failure = failureOf(
    await responseFor(new TransferError('sealed', 'the transfer is sealed; nothing is written')),
    'PUT /zero',
  );
  assert.deepEqual(
    [failure.message, failure.hint],
    ['the transfer is sealed; nothing is written', undefined],
  );
});

test('a response without a problem document is reported by its status', () => {
  for (const body of ['', '<html>', '[]', '"x"', 'null', '{"detail":7,"hint":7}']) {
    const failure = failureOf(responseOf(503, body), 'GET /transfer');
    assert.equal(failure.message, 'GET /transfer: the receiver answered with status 503', body);
    assert.equal(failure.code, 'busy');
  }
  assert.equal(failureOf(responseOf(401, ''), 'x').code, 'token-invalid');
  assert.equal(failureOf(responseOf(418, '{"code":"teapot"}'), 'x').code, 'bad-answer');
});

test('no response can control the terminal', () => {
  const failure = failureOf(responseOf(500, '{"detail":"a\\u001b[2Jb","hint":"c\\u0007d"}'), 'x');
  assert.deepEqual([failure.message, failure.hint], ['a?[2Jb', 'c?d']);
});
