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

test('a refusal arrives as what the receiver says, with its details and without its hint', async () => {
  const refusal = new TransferError('busy', 'all memory is in use: 5 of 5', {
    hint: 'wait',
    details: { blocks: [[5, 1]] },
    retryAfterSeconds: 7,
  });
  const { code, message, hint, details, retryAfterSeconds } = failureOf(
    await responseFor(refusal),
    'PUT /blocks/5',
  );
  const said = `the receiver says: ${refusal.message}; wait`;
  assert.deepEqual([code, message, hint, retryAfterSeconds], ['busy', said, undefined, 7]);
  assert.deepEqual(details['blocks'], [[5, 1]]);
});

test('a refusal without a hint stays without one', async () => {
  const failure = failureOf(
    await responseFor(new TransferError('sealed', 'the transfer is sealed; nothing is written')),
    'PUT /zero',
  );
  assert.deepEqual(
    [failure.message, failure.hint],
    ['the receiver says: the transfer is sealed; nothing is written', undefined],
  );
});

test('who signs tokens has no other ticket to use', async () => {
  const hintFor = async (code: 'token-expired' | 'token-invalid' | 'token-missing'): Promise<string> => {
    const response = await responseFor(new TransferError(code, 'refused'));
    return failureOf(response, 'GET /transfer', { receiver: 'SHA256:x' }).hint ?? '';
  };
  assert.equal(await hintFor('token-expired'), 'run the same command again: it signs a new token');
  assert.match(
    await hintFor('token-invalid'),
    /--allow-signers file must have your key, .* ddt-token-v1@dd-transfer/,
  );
  assert.match(await hintFor('token-missing'), /^use the ticket /);
});

test('where there is a hint of our own it replaces that of the receiver', async () => {
  const refusal = new TransferError('token-expired', 'the token has expired', { hint: 'look into the log' });
  const { message, hint } = failureOf(await responseFor(refusal), 'GET /transfer');
  assert.equal(message, 'the receiver says: the token has expired');
  assert.match(hint ?? '', /^restart ddt-receive on the same target: /);
});

test('a code that never travels is treated as the status of its response', () => {
  for (const code of ['interrupted', 'usage', 'receipt-invalid', 'no-progress', 'constructor', 7, null]) {
    const { code: taken, kind } = failureOf(responseOf(503, JSON.stringify({ code, detail: 'x' })), 'x');
    assert.deepEqual([taken, kind], ['busy', 'transient'], String(code));
  }
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
  assert.deepEqual([failure.message, failure.hint], ['the receiver says: a?[2Jb', undefined]);
});
