import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { digestNow } from '../../../common/digest/digest.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, contentOf, digestOn, listedIn } from '../../support/open-transfer.ts';
import { prng } from '../../support/prng.ts';
import { connectRaw } from '../../support/raw-exchange.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

async function put(app: ReceiverApp, index: number, version: number, more = ''): Promise<Answer> {
  const body = contentOf(app.transfer.claimed(), index, version);
  const digest = digestNow(body).toString('hex');
  const isPacked = version % 3 === 0;
  return await app.request('PUT', `/blocks/${index}?digest=sha256:${digest}${more}`, {
    body: isPacked ? zstdCompressSync(body) : body,
    headers: isPacked ? { 'content-encoding': 'zstd' } : {},
  });
}

test('after a hundred concurrent PUTs of one block, table, journal and target agree on one', async () => {
  const target = new MemoryTarget();
  // Little memory, so that they wait for slabs as well as for the block.
  await using app = await startReceiverApp({ target, memoryBytes: 5 * (BLOCK_BYTES + 4096) });
  const versions = Array.from({ length: 100 }, (_, at) => at + 1);
  const answers = await Promise.all(
    versions.map(async (version) => await put(app, 3, version, version % 2 === 0 ? '&flush=n' : '')),
  );
  for (const { status } of answers) assert([200, 201, 202].includes(status), String(status));
  assert.ok(answers.filter(({ status }) => status === 201).length <= 1);
  const generations = answers.map((answer) => Number(answer.json()['generation'])).sort((a, b) => a - b);
  assert.deepEqual(generations, versions);
  assert.equal((await app.request('POST', '/flush')).status, 200);
  const open = app.transfer.claimed();
  const last = answers.find((answer) => answer.json()['generation'] === 100);
  const expected = last?.json()['sha256'];
  assert.equal(open.table.digestOf(3).toString('hex'), expected);
  assert.deepEqual([...listedIn(app.transfer.journal)], [[3, expected]]);
  assert.equal(digestOn(target.crash(), open, 3), expected);
  assert.equal(open.slabs.freeCount, open.slabs.slabCount);
});

test('concurrent PUTs, zeros, listings and faults leave journal, table and target in agreement', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, memoryBytes: 6 * (BLOCK_BYTES + 4096) });
  const random = prng(11);
  const requests = Array.from({ length: 200 }, async (_, at) => {
    const index = random.below(8);
    if (at % 50 === 20) target.arm({ operation: 'write', errno: 'EIO', nth: 3 });
    if (at % 50 === 40) target.arm({ operation: 'flush', errno: 'EIO' });
    if (at % 10 === 0) return await app.request('POST', '/zero', { body: `{"ranges":[[${index},1],[0,2]]}` });
    if (at % 10 === 5) return await app.request('GET', index % 2 === 0 ? '/blocks' : `/blocks/${index}`);
    return await put(app, index, random.below(20), at % 4 === 0 ? '&flush=n' : '');
  });
  const answers = await Promise.all(requests);
  for (const { status } of answers) assert([200, 201, 202, 404, 500].includes(status), String(status));
  assert(answers.some(({ status }) => status === 500));
  target.clearFaults();
  assert.equal((await app.request('POST', '/flush')).status, 200);
  const open = app.transfer.claimed();
  const listed = listedIn(app.transfer.journal);
  for (const media of [target.crash(), target.crash('all')]) {
    for (const [index, digest] of listed) assert.equal(digestOn(media, open, index), digest);
  }
  const states = Array.from({ length: 8 }, (_, index) => open.table.stateOf(index));
  assert.deepEqual(
    states.flatMap((state, index) => (state === 'durable' ? [index] : [])),
    [...listed.keys()],
  );
  assert(!states.includes('written'));
});

test('a lost response costs nothing: the block is listed, and the same PUT is 200', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  const body = contentOf(app.transfer.claimed(), 2, 1);
  const digest = digestNow(body).toString('hex');
  using gate = target.hold('flush');
  const socket = await connectRaw(app.port);
  const lines = [
    `PUT /blocks/2?digest=sha256:${digest} HTTP/1.1`,
    'host: x',
    `authorization: Bearer ${app.token}`,
  ];
  socket.write([...lines, `content-length: ${body.length}`, '', ''].join('\r\n'));
  socket.write(body);
  await gate.arrived();
  socket.destroy();
  gate.open();
  await app.request('POST', '/flush');
  const { status, headers } = await app.request('HEAD', '/blocks/2');
  assert.deepEqual([status, headers.etag, headers['ddt-block-state']], [200, `"${digest}"`, 'durable']);
  assert.equal((await put(app, 2, 1)).status, 200);
  assert.equal(listedIn(app.transfer.journal).get(2), digest);
});
