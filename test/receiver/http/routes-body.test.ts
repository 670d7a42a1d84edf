import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { BLOCK_BYTES } from '../../support/open-transfer.ts';
import { connectRaw, rawExchange } from '../../support/raw-exchange.ts';
import type { ReceiverApp } from '../../support/receiver-app.ts';
import { BODY, GOOD_QUERY, startUntouched } from '../../support/untouched.ts';

const MIB = 1024 * 1024;

/** Head of a PUT of block 2. */
function headOf(
  app: ReceiverApp,
  lines = [`content-length: ${BLOCK_BYTES}`],
  token: string | null = app.token,
): string {
  const authorization = token === null ? [] : [`authorization: Bearer ${token}`];
  return [`PUT /blocks/2${GOOD_QUERY} HTTP/1.1`, 'host: x', ...authorization, ...lines, '', ''].join('\r\n');
}

/** 64 MiB in chunks that are made as they are sent. */
function* longBody(head: string): Iterable<Buffer | string> {
  yield head;
  for (let at = 0; at < 64 * MIB; at += 65_536) yield Buffer.alloc(65_536, at);
}

test('the body of a refused request is not read, whatever its length', async () => {
  await using at = await startUntouched();
  const length = [`content-length: ${64 * MIB}`];
  const endless = ['transfer-encoding: chunked'];
  const heads: [string, number][] = [
    [headOf(at.app, length, null), 401],
    [headOf(at.app, length, 'junk'), 401],
    [headOf(at.app, length, at.app.mint({ scope: ['read'] })), 403],
    [headOf(at.app, length), 413],
    [headOf(at.app, [...length, 'content-encoding: zstd']), 413],
    [headOf(at.app, length).replace('/blocks/2', '/blocks/99'), 404],
    [headOf(at.app, length).replace('/blocks/2', '/nothing'), 404],
    [headOf(at.app, length).replace('PUT', 'DELETE'), 405],
    [headOf(at.app, length).replace('PUT /blocks/2', 'POST /zero'), 413],
    [headOf(at.app, length).replace('PUT /blocks/2', 'GET /health'), 200],
    [headOf(at.app, length).replace('PUT /blocks/2', 'POST /flush'), 200],
    [`${headOf(at.app, endless, null)}${(64 * MIB).toString(16)}\r\n`, 401],
    [`${headOf(at.app, endless)}${(64 * MIB).toString(16)}\r\n`, 413],
    [headOf(at.app, [...length, 'content-encoding: br']), 415],
    [`${headOf(at.app, [...endless, 'content-encoding: br'])}${(64 * MIB).toString(16)}\r\n`, 415],
  ];
  for (const [head, status] of heads) {
    const { statuses, sentBytes, isClosedByServer, text } = await rawExchange(at.app.port, longBody(head));
    const what = head.slice(0, 30);
    assert.deepEqual([statuses, isClosedByServer], [[status], true], what);
    assert.match(text, /\r\nconnection: close\r\n/i, what);
    assert.ok(sentBytes < 8 * MIB, `${what}: ${sentBytes} bytes were taken`);
  }
  at.assertUntouched();
  assert.equal((await at.app.request('GET', '/transfer')).status, 200);
});

test('two Authorization headers are not one token', async () => {
  await using at = await startUntouched();
  const twice = headOf(at.app, [`authorization: Bearer ${at.app.token}`, `content-length: ${BLOCK_BYTES}`]);
  const { statuses } = await rawExchange(at.app.port, twice, { until: /\r\n\r\n/ });
  assert.deepEqual(statuses, [401]);
});

test('100 Continue is sent once the head is checked, and not if it is refused', async () => {
  await using at = await startUntouched();
  const expecting = [`content-length: ${BLOCK_BYTES}`, 'expect: 100-continue'];
  const refused: [string, number][] = [
    [headOf(at.app, expecting, null), 401],
    [headOf(at.app, [...expecting, 'content-encoding: br']), 415],
    [headOf(at.app, [...expecting, 'if-none-match: *']), 412],
    [headOf(at.app, ['content-length: 1', 'expect: 100-continue']), 422],
    [headOf(at.app, expecting).replace(GOOD_QUERY, ''), 400],
    [headOf(at.app, expecting).replace('/blocks/2', '/blocks/8'), 404],
  ];
  for (const [head, status] of refused) {
    const { statuses, isClosedByServer } = await rawExchange(at.app.port, head);
    assert.deepEqual([statuses, isClosedByServer], [[status], true], head.slice(0, 30));
  }
  at.assertUntouched();
  const answer = await at.app.request('PUT', `/blocks/2${GOOD_QUERY}`, {
    headers: { expect: '100-continue', 'content-length': BLOCK_BYTES },
    body: BODY,
  });
  assert.deepEqual([answer.status, answer.isContinued], [200, true]);
});

test('a body that is cut at any point changes nothing', async () => {
  await using at = await startUntouched();
  const { slabs } = at.app.transfer.claimed();
  const sizeLine = `${BLOCK_BYTES.toString(16)}\r\n`;
  for (const length of [0, 1, 1000, BLOCK_BYTES - 1]) {
    const piece = BODY.subarray(0, length);
    const isChunked = length % 2 === 1;
    const head = isChunked ? `${headOf(at.app, ['transfer-encoding: chunked'])}${sizeLine}` : headOf(at.app);
    const socket = await connectRaw(at.app.port);
    socket.write(Buffer.concat([Buffer.from(head), piece]));
    await eventually('the block has its memory', () => slabs.freeCount < slabs.slabCount);
    if (length === 1000) socket.end();
    else socket.destroy();
    await eventually('its memory is free', () => slabs.freeCount === slabs.slabCount);
    socket.destroy();
  }
  at.assertUntouched();
});

test('a chunked body that is too short or has broken framing is refused', async () => {
  await using at = await startUntouched();
  const chunked = ['transfer-encoding: chunked'];
  const ended = `${headOf(at.app, chunked)}3\r\nabc\r\n0\r\n\r\n`;
  const short = await rawExchange(at.app.port, ended, { until: /length-mismatch/ });
  assert.deepEqual(short.statuses, [422]);
  const broken = [`${headOf(at.app, chunked)}3\r\nabcXX0\r\n\r\n`, `${headOf(at.app, chunked)}-1\r\nabc\r\n`];
  for (const text of [...broken, `${headOf(at.app, chunked)}fffffffffffffffff\r\nabc\r\n`]) {
    const { statuses, isClosedByServer } = await rawExchange(at.app.port, text);
    assert.deepEqual([statuses, isClosedByServer], [[400], true]);
  }
  at.assertUntouched();
});

test('bytes after a complete body are another request, which needs a token of its own', async () => {
  await using at = await startUntouched();
  const get = 'GET /transfer HTTP/1.1\r\nhost: x\r\n\r\n';
  const both = Buffer.concat([Buffer.from(headOf(at.app)), BODY, Buffer.from(get)]);
  const { statuses } = await rawExchange(at.app.port, both, { until: /token-missing/ });
  assert.deepEqual(statuses, [200, 401]);
});

test('a body that stalls is refused and releases its memory', async () => {
  await using at = await startUntouched({ bodyProgressTimeoutMs: 100 });
  const { statuses, isClosedByServer, text } = await rawExchange(at.app.port, `${headOf(at.app)}abc`);
  assert.deepEqual([statuses, isClosedByServer], [[408], true]);
  assert.match(text, /"code":"too-slow"/);
  assert.match(text, /retry-after: 1\r\n/);
  at.assertUntouched();
  const { slabs } = at.app.transfer.claimed();
  assert.equal(slabs.freeCount, slabs.slabCount);
});

test('a PUT waits for memory for a while, and is then refused with Retry-After', async () => {
  await using at = await startUntouched({ memoryBytes: 1, memoryWaitMs: 100 });
  const { slabs } = at.app.transfer.claimed();
  const holders = await Promise.all([slabs.take(), slabs.take()]);
  for (const method of ['PUT', 'GET']) {
    const options = method === 'PUT' ? { body: BODY } : {};
    const busy = await at.app.request(method, `/blocks/2${GOOD_QUERY}`, options);
    assert.deepEqual([busy.status, busy.code, busy.headers['retry-after']], [503, 'busy', '1']);
  }
  // HEAD needs no memory.
  assert.equal((await at.app.request('HEAD', '/blocks/2')).status, 200);
  at.assertUntouched();
  const waiting = at.app.request('PUT', `/blocks/2${GOOD_QUERY}`, { body: BODY });
  for (const holder of holders) holder[Symbol.dispose]();
  assert.equal((await waiting).status, 200);
});

test('a client that disconnects while it waits for memory does not take any', async () => {
  await using at = await startUntouched({ memoryBytes: 1 });
  const { slabs } = at.app.transfer.claimed();
  const holders = await Promise.all([slabs.take(), slabs.take()]);
  const socket = await connectRaw(at.app.port);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.write(`${headOf(at.app)}abc`);
  // Once a later request on another connection has its response, this one has arrived.
  await at.app.request('GET', '/transfer');
  socket.destroy();
  await closed;
  await at.app.request('GET', '/transfer');
  for (const holder of holders) holder[Symbol.dispose]();
  await eventually('its memory is free', () => slabs.freeCount === slabs.slabCount);
  at.assertUntouched();
});
