import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, LAST_BYTES, contentOf, listedIn } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';
import { rawExchange } from '../../support/raw-exchange.ts';
import { recordedTarget } from '../../support/recorded.ts';

function hex(bytes: Buffer): string {
  return digestNow(bytes).toString('hex');
}

async function put(app: ReceiverApp, index: number, version: number, more = ''): Promise<Answer> {
  const body = contentOf(app.transfer.claimed(), index, version);
  return await app.request('PUT', `/blocks/${index}?digest=sha256:${hex(body)}${more}`, { body });
}

function outcomeOf(answer: Answer): [number, string | undefined] {
  return [answer.status, answer.code];
}

test('PUT makes a block durable: 201 at first, 200 again, and the response repeats everything', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  const bytes = contentOf(app.transfer.claimed(), 3, 1);
  const first = await put(app, 3, 1);
  const receipt = {
    transferId: app.transfer.id,
    epoch: app.transfer.epoch,
    index: 3,
    offset: 3 * BLOCK_BYTES,
    length: BLOCK_BYTES,
    sha256: hex(bytes),
    state: 'durable',
  };
  assert.equal(first.status, 201);
  assert.deepEqual(first.json(), { ...receipt, generation: 1 });
  assert.equal(first.headers['ddt-durable-generation'], '1');
  assert(
    target
      .crash()
      .bytesAt(3 * BLOCK_BYTES, BLOCK_BYTES)
      .equals(bytes),
  );
  // As after a lost response: the block is there, and is not written again.
  const again = await put(app, 3, 1, '&flush=y');
  assert.equal(again.status, 200);
  assert.deepEqual(again.json(), { ...receipt, generation: 1 });
  const other = await put(app, 3, 2);
  assert.deepEqual([other.status, other.json()['generation']], [200, 2]);
  assert.equal((await put(app, 7, 1)).json()['length'], LAST_BYTES);
});

test('PUT with flush=n is 202, and durable once a later response says so', async () => {
  await using app = await startReceiverApp();
  const answer = await put(app, 0, 1, '&flush=n');
  const { state, generation } = answer.json();
  assert.deepEqual([answer.status, state, generation], [202, 'written', 1]);
  assert.equal(answer.headers['ddt-durable-generation'], '0');
  const flush = await app.request('POST', '/flush');
  assert.deepEqual([flush.status, flush.json()], [200, { epoch: app.transfer.epoch, durableGeneration: 1 }]);
  assert.equal(flush.headers['ddt-durable-generation'], '1');
  assert.equal(listedIn(app.transfer.journal).size, 1);
  assert.deepEqual(outcomeOf(await put(app, 0, 1, '&flush=maybe')), [400, 'bad-request']);
});

test('HEAD has state, digest and length of a block, and never reads the target', async () => {
  const reads: string[] = [];
  const target = recordedTarget(new MemoryTarget(), (text) => reads.push(text));
  await using app = await startReceiverApp({ target });
  assert.equal((await app.request('HEAD', '/blocks/7')).status, 404);
  await put(app, 7, 1, '&flush=n');
  const digest = digestNow(contentOf(app.transfer.claimed(), 7, 1));
  for (const state of ['written', 'durable']) {
    const { status, headers, body } = await app.request('HEAD', '/blocks/7');
    assert.deepEqual([status, body.length, headers['content-length']], [200, 0, String(LAST_BYTES)]);
    assert.deepEqual([headers.etag, headers['ddt-block-state']], [`"${digest.toString('hex')}"`, state]);
    assert.equal(headers['repr-digest'], `sha-256=:${digest.toString('base64')}:`);
    assert.equal(headers['ddt-generation'], '1');
    await app.request('POST', '/flush');
  }
  assert.deepEqual(
    reads.filter((text) => text.startsWith('read')),
    [],
  );
});

test('GET returns the bytes that the target holds', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  await put(app, 7, 1);
  const answer = await app.request('GET', '/blocks/7');
  assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'application/octet-stream']);
  assert.equal(answer.headers.etag, `"${hex(answer.body)}"`);
  assert(answer.body.equals(contentOf(app.transfer.claimed(), 7, 1)));
  await target.write(Buffer.from([1, 2, 3]), 7 * BLOCK_BYTES);
  assert.equal((await app.request('GET', '/blocks/7')).body[1], 2);
  assert.deepEqual(outcomeOf(await app.request('GET', '/blocks/6')), [404, 'block-absent']);
  target.arm({ operation: 'read', errno: 'EIO' });
  assert.deepEqual(outcomeOf(await app.request('GET', '/blocks/7')), [500, 'io-error']);
  const { slabs } = app.transfer.claimed();
  assert.equal(slabs.freeCount, slabs.slabCount);
});

test('there is no block past the last one', async () => {
  await using app = await startReceiverApp();
  for (const index of [8, 9_999_999_999]) {
    for (const method of ['GET', 'PUT']) {
      const answer = await app.request(method, `/blocks/${index}`);
      assert.deepEqual(outcomeOf(answer), [404, 'block-out-of-range'], `${method} ${index}`);
      assert.equal(answer.json()['blockCount'], 8);
    }
    assert.equal((await app.request('HEAD', `/blocks/${index}`)).status, 404);
  }
});

const NO_INDEXES = [
  '-1',
  '+1',
  '01',
  '00',
  '1e3',
  '0x10',
  '1.0',
  '1.',
  '%31',
  '1%2f..',
  '1%00',
  '1;x',
  '%FF',
  '1%20',
  '1/',
  '1/0',
  'Infinity',
  'NaN',
  '9007199254740993',
  '18446744073709551617',
  '10000000000',
  '../blocks/1',
  '1#',
  '1,2',
  '*',
];

test('an index has one spelling: no other reaches a block', async () => {
  const calls: string[] = [];
  const target = recordedTarget(new MemoryTarget(), (text) => calls.push(text));
  await using app = await startReceiverApp({ target });
  await put(app, 1, 1);
  calls.length = 0;
  const body = contentOf(app.transfer.claimed(), 1, 2);
  for (const spelling of NO_INDEXES) {
    const path = `/blocks/${spelling}?digest=sha256:${hex(body)}`;
    for (const [method, options] of [
      ['PUT', { body }],
      ['GET', {}],
    ] as const) {
      const answer = await app.request(method, path, options);
      assert.equal(answer.status, 404, `${method} ${spelling}`);
    }
    assert.equal((await app.request('HEAD', path)).status, 404, spelling);
  }
  for (const path of [
    '//blocks/1',
    '/blocks//1',
    '/Blocks/1',
    '/%62locks/1',
    '/./blocks/1',
    '/x/../blocks/1',
  ]) {
    assert.equal((await app.request('GET', path)).status, 404, path);
  }
  // Bytes that client libraries do not send: a non-ASCII digit, a NUL, a blank.
  for (const spelling of ['\u0661', '1\u0000', '1 2', '\u00b9']) {
    const head = `GET /blocks/${spelling} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${app.token}\r\n\r\n`;
    const { statuses } = await rawExchange(app.port, head, { until: /\r\n\r\n/ });
    assert.ok(statuses[0] === 404 || statuses[0] === 400, `${JSON.stringify(spelling)}: ${statuses[0]}`);
  }
  assert.deepEqual(calls, []);
});

test('any valid Host is accepted, and an absolute request target is 404', async () => {
  await using app = await startReceiverApp();
  const rest = `authorization: Bearer ${app.token}\r\n\r\n`;
  const ask = async (target: string, host: string): Promise<number | undefined> => {
    const { statuses } = await rawExchange(app.port, `GET ${target} HTTP/1.1\r\nhost: ${host}\r\n${rest}`, {
      until: /\r\n\r\n/,
    });
    return statuses[0];
  };
  for (const host of ['x', '127.0.0.1', 'evil.example:1', '[::1]:8443'])
    assert.equal(await ask('/transfer', host), 200);
  for (const host of ['', 'a b', 'a/b', 'user@x', 'x:99999'])
    assert.equal(await ask('/transfer', host), 400, host);
  for (const target of ['https://x/transfer', 'http://evil/transfer', '//x/transfer']) {
    assert.equal(await ask(target, 'x'), 404, target);
  }
});

test('If-None-Match refuses to write a block that is already there', async () => {
  await using app = await startReceiverApp();
  const body = contentOf(app.transfer.claimed(), 0, 1);
  const digest = hex(body);
  const attempt = async (condition: string, version = 1): Promise<Answer> => {
    const content = contentOf(app.transfer.claimed(), 0, version);
    const headers = { 'if-none-match': condition };
    return await app.request('PUT', `/blocks/0?digest=sha256:${hex(content)}`, { body: content, headers });
  };
  assert.equal((await attempt('*')).status, 201);
  for (const condition of ['*', `"${digest}"`, `"x", "${digest}"`, `W/"${digest}"`]) {
    const refused = await attempt(condition);
    assert.deepEqual(
      [...outcomeOf(refused), refused.json()['sha256']],
      [412, 'precondition', digest],
      condition,
    );
  }
  assert.equal((await attempt(`"${hex(Buffer.alloc(1))}"`)).status, 200);
  assert.deepEqual(outcomeOf(await attempt('*', 2)), [412, 'precondition']);
  assert.equal((await attempt(`"${hex(Buffer.alloc(1))}"`, 2)).status, 200);
});
