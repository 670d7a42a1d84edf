/**
 * docs/reference/openapi.json is what a receiver does: its operations are the routes, its requests go to a
 * real receiver, and each response has the form that it names, with no member or status besides.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { zstdCompressSync } from 'node:zlib';
import { Validator } from '@seriousme/openapi-schema-validator';
import { ERROR_CODES, TransferError } from '../../../common/errors.ts';
import { PROBLEM_CODES } from '../../../common/protocol/problem-codes.ts';
import * as protocol from '../../../common/protocol/protocol.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import type { ReadBackMethod } from '../../../common/protocol/read-back.ts';
import { ApiDocument, type Filling, type Made, type Members, type Received } from '../../support/openapi.ts';
import { prng } from '../../support/prng.ts';
import { startReceiver } from '../../support/processes.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { TicketClient } from '../../support/ticket-client.ts';

const api = await ApiDocument.read();
const BLOCK = 65_536;

test('it is an OpenAPI document of version 3.1', async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(structuredClone(api.whole));
  assert(valid, JSON.stringify(errors));
  assert.equal(validator.version, '3.1');
});

test('it has every route of the receiver, and no others', async () => {
  await using app = await startReceiverApp();
  const routes = app.routes.map((route) => route.replace(/:(\w+)(\{.*\})?$/, '{$1}'));
  // hono answers HEAD by what GET does; the document names it where it does something else.
  const operations = api.operations.map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(new Set(operations.filter((one) => !one.startsWith('HEAD'))), new Set(routes));
  assert.deepEqual(
    operations.filter((one) => one.startsWith('HEAD')),
    ['HEAD /blocks/{index}'],
  );
  assert.equal(new Set(operations).size, operations.length);
});

/** Of a response of this name. */
function codesOf(status: number): string[] {
  const responses = (api.whole['components'] as Members)['responses'] as Record<string, Members>;
  const content = responses[`Problem${status}`]?.['content'] as Members;
  const { schema } = content['application/problem+json'] as {
    schema: { properties: { code: { enum: string[] } } };
  };
  return schema.properties.code.enum;
}

test('each code that travels is in the response with its status, and no others', () => {
  const statuses = new Set(PROBLEM_CODES.map((code) => ERROR_CODES[code].status));
  for (const status of statuses) {
    const wanted = PROBLEM_CODES.filter((code) => ERROR_CODES[code].status === status);
    assert.deepEqual(new Set(codesOf(status)), new Set<string>(wanted), String(status));
  }
  const responses = (api.whole['components'] as Members)['responses'] as Members;
  assert.deepEqual(
    Object.keys(responses),
    [...statuses].toSorted((a, b) => a - b).map((status) => `Problem${status}`),
  );
});

test('its limits and states are those of the code', () => {
  const text = JSON.stringify(api.whole);
  const schemas = (api.whole['components'] as Members)['schemas'] as Record<string, Members>;
  assert.deepEqual(schemas['BlockState']?.['enum'], [...protocol.BLOCK_STATES]);
  assert(text.includes(`"maxItems":${protocol.ZERO_RANGES_MAX}`));
  assert(text.includes(`"maxItems":${protocol.PROVE_AREAS_MAX}`));
  assert(text.includes(`"maximum":${protocol.LISTING_COUNT_MAX}`));
});

type Call = (id: string, status: number, filling?: Filling) => Promise<Received>;
type Send = (made: Made) => Promise<Received>;

/** @returns the response, which has the wanted status and has been compared with the document. */
function caller(send: Send): Call {
  return async (id, status, filling = {}) => {
    const response = await send(api.make(id, filling));
    assert.equal(response.status, status, `${id}: ${response.body.toString()}`);
    api.check(id, response);
    return response;
  };
}

function callerOf(client: TicketClient): Call {
  return caller(async ({ method, path, headers, body }) => await client.request(method, path, body, headers));
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const digest = (bytes: Buffer): string => `sha256:${sha256(bytes)}`;
const [ONE, LAST] = [prng(1).bytes(BLOCK), prng(2).bytes(101)];
const ROOT = digest(
  Buffer.concat([ONE, Buffer.alloc(BLOCK), ONE, ONE, LAST].map((bytes) => Buffer.from(sha256(bytes), 'hex'))),
);
const PUT = { params: { index: 0, digest: digest(ONE) }, body: ONE };
const COPY = { body: { from: 0, to: 2, digest: digest(ONE) } };

/** From the claim to blocks in every state. */
async function write(call: Call): Promise<void> {
  await call('flush', 409);
  await call('claim', 201);
  await call('claim', 200);
  await call('writeBlock', 201, PUT);
  await call('writeBlock', 200, PUT);
  await call('writeBlock', 422, { ...PUT, body: LAST });
  await call('writeBlock', 202, {
    params: { index: 3, digest: digest(ONE), flush: 'n' },
    headers: { 'Content-Encoding': 'zstd', 'Ddt-Sender': 'someone' },
    body: zstdCompressSync(ONE),
  });
  await call('writeZeros', 200);
  await call('writeZeros', 202, { params: { flush: 'n' } });
  await call('copyBlock', 404);
  await call('copyBlock', 201, COPY);
  await call('copyBlock', 202, { ...COPY, params: { flush: 'n' } });
  await call('copyBlock', 200, COPY);
  await call('flush', 200);
}

/** Of blocks that are there, and of one that is not. */
async function look(call: Call): Promise<void> {
  await call('lookAtBlock', 200, { params: { index: 0 } });
  await call('lookAtBlock', 404, { params: { index: 4 } });
  await call('readBlock', 404, { params: { index: 4 } });
  assert.deepEqual((await call('readBlock', 200, { params: { index: 2 } })).body, ONE);
  await call('listBlocks', 200, { params: { state: 'any' } });
  await call('listBlocks', 200, { params: { from: 1, count: 4 }, headers: { Accept: 'text/plain' } });
  await call('listBlocks', 200, { headers: { Accept: protocol.TYPE_DIGESTS } });
  await call('listBlocks', 400, { params: { count: 65_537 } });
  await call('prove', 200);
  await call('prove', 404, { body: { nonce: 'a'.repeat(64), areas: [[4 * BLOCK, 1]] } });
  await call('probe', 200, { body: LAST });
  await call('probeTarget', 200);
}

/** To the seal, and after it. */
async function seal(call: Call): Promise<void> {
  await call('getReceipt', 404);
  await call('reopen', 200);
  await call('complete', 409);
  await call('writeBlock', 201, { params: { index: 4, digest: digest(LAST) }, body: LAST });
  await call('verify', 202);
  await call('complete', 409, { body: { blockCount: 5, root: `sha256:${'1'.repeat(64)}` } });
  await call('complete', 200, { body: { blockCount: 5, root: ROOT } });
  await call('getReceipt', 200);
  await call('getReceipt', 200, { params: { part: 'signature' } });
  await call('getTransfer', 200);
  await call('reopen', 409);
}

test('the requests of the document get its responses from a real receiver', async () => {
  await using folder = await tempDir();
  const readOnly = join(folder.path, 'read-ticket');
  const options = ['--read-ticket-file', readOnly];
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ folder: folder.path, target, options });
  using reader = new TicketClient((await readFile(readOnly, 'utf8')).trim());
  const call = callerOf(receiver.client);
  await call('health', 200);
  await callerOf(reader)('getTransfer', 200);
  await callerOf(reader)('claim', 403);
  await write(call);
  await look(call);
  await seal(call);
});

test('what is refused before the body has the form of the document, too', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const call = caller(async ({ method, path, headers, body }) => {
    // Otherwise the connection may be reset while the body is on its way.
    const expect = body === undefined ? {} : { expect: '100-continue' };
    return await app.request(method, path, { headers: { ...headers, ...expect }, ...(body && { body }) });
  });
  const stranger = caller(async ({ method, path }) => await app.request(method, path, { token: null }));
  await stranger('health', 200);
  await stranger('getTransfer', 401);
  await call('claim', 400, { body: { size: 1, blockSize: BLOCK + 1, source: {} } });
  await call('claim', 201);
  await call('claim', 409, { body: { size: 1, blockSize: BLOCK, source: {} } });
  await call('writeBlock', 201, PUT);
  await call('writeBlock', 412, { ...PUT, headers: { 'If-None-Match': '*' } });
  await call('writeBlock', 400, { ...PUT, params: { index: 0 } });
  await call('writeBlock', 404, { ...PUT, params: { ...PUT.params, index: 99 } });
  await call('writeBlock', 413, { ...PUT, body: Buffer.alloc(BLOCK + 1) });
  await call('probe', 413, { body: Buffer.alloc(protocol.PROBE_BYTES_MAX + 1) });
  app.isDraining = true;
  await call('getTransfer', 503);
  app.isDraining = false;
  app.failure = new TransferError('journal-error', 'it is full of holes');
  await call('flush', 500);
});

class SlowTarget extends MemoryTarget {
  /** Longer than the receiver waits for a block before it answers. */
  override async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    await delay(1200);
    return await super.readBack(into, offset);
  }
}

test('a target that is slow to read back has the response that is left', async () => {
  // Two are read at once.
  const target = new SlowTarget({ capacityBytes: 3 * BLOCK });
  await using app = await startReceiverApp({ blockCount: null, isReadBack: true, target });
  const call = caller(
    async ({ method, path, headers, body }) =>
      await app.request(method, path, { headers, ...(body && { body }) }),
  );
  await call('claim', 507);
  await call('claim', 201, { body: { size: 3 * BLOCK, blockSize: BLOCK, source: {} } });
  for (const index of [0, 1, 2]) await call('writeBlock', 201, { ...PUT, params: { ...PUT.params, index } });
  const root = digest(Buffer.concat([ONE, ONE, ONE].map((bytes) => Buffer.from(sha256(bytes), 'hex'))));
  await call('complete', 202, { body: { blockCount: 3, root } });
});

test('every response that is a success has been seen', () => {
  const successes = api.operations.flatMap(({ id, at }) =>
    Object.keys(at['responses'] as Members)
      .filter((status) => status.startsWith('2'))
      .map((status) => `${id} ${status}`),
  );
  assert.deepEqual(
    successes.filter((one) => !api.seen.has(one)),
    [],
  );
});

test('a response with another member, without one, or with one of another type is noticed', () => {
  const place = '/components/schemas/FlushResult';
  const good = { epoch: 'e', durableGeneration: 1 };
  assert.equal(api.errors(place, good), '');
  for (const bad of [{ ...good, more: 1 }, { epoch: 'e' }, { ...good, durableGeneration: '1' }])
    assert.notEqual(api.errors(place, bad), '', JSON.stringify(bad));
});
