/** POST /prove: digests with a nonce, of what the target has now and not of what is recorded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { PROVE_BLOCKS_MAX, type ProveResult } from '../../../common/protocol/protocol.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

const NONCE = 'ab'.repeat(32);

async function put(app: ReceiverApp, index: number): Promise<void> {
  const body = contentOf(app.transfer.claimed(), index, 1);
  const digest = digestNow(body).toString('hex');
  assert.equal((await app.request('PUT', `/blocks/${index}?digest=sha256:${digest}`, { body })).status, 201);
}

async function prove(app: ReceiverApp, body: unknown): Promise<Answer> {
  return await app.request('POST', '/prove', { body: JSON.stringify(body) });
}

async function digestsOf(app: ReceiverApp, blocks: readonly number[]): Promise<readonly string[]> {
  return (JSON.parse((await prove(app, { nonce: NONCE, blocks })).body.toString()) as ProveResult).digests;
}

function expected(bytes: Buffer): string {
  return digestNow(Buffer.concat([Buffer.from(NONCE), bytes])).toString('hex');
}

test('blocks are read from the target and hashed with the nonce, in any order', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, blockCount: 4, isReadBack: true });
  for (const index of [0, 1, 3]) await put(app, index);
  const blocks = [3, 0, 3];
  const { status, body } = await prove(app, { nonce: NONCE, blocks });
  const result = JSON.parse(body.toString()) as ProveResult;
  const contents = blocks.map((index) => contentOf(app.transfer.claimed(), index, 1));
  const digests = contents.map(expected);
  assert.deepEqual([status, result], [200, { transferId: app.transfer.id, nonce: NONCE, blocks, digests }]);
  const absent = await prove(app, { nonce: NONCE, blocks: [0, 2] });
  assert.deepEqual([absent.status, absent.code], [404, 'block-absent']);
  // What another program wrote is what the target has.
  const other = Buffer.alloc(BLOCK_BYTES, 7);
  target.writeAsOther(other, BLOCK_BYTES);
  const changed = JSON.parse(
    (await prove(app, { nonce: NONCE, blocks: [1] })).body.toString(),
  ) as ProveResult;
  assert.deepEqual(changed.digests, [expected(other)]);
  // What is only in the page cache is not.
  await target.write(Buffer.alloc(BLOCK_BYTES, 9), BLOCK_BYTES);
  assert.deepEqual(await digestsOf(app, [1]), [expected(other)]);
});

test('it takes one slab, whatever the number of blocks', async () => {
  const memoryBytes = BLOCK_BYTES + 4096;
  await using app = await startReceiverApp({ blockCount: 8, isReadBack: true, memoryBytes });
  for (let index = 0; index < 8; index++) await put(app, index);
  const blocks = Array.from({ length: PROVE_BLOCKS_MAX }, (_, nth) => nth % 8);
  assert.equal((await prove(app, { nonce: NONCE, blocks })).status, 200);
});

test('what is not a request for a proof is refused, and so is one where nothing is read back', async () => {
  await using app = await startReceiverApp({ blockCount: 4, isReadBack: true });
  await put(app, 0);
  for (const body of [
    {},
    { nonce: NONCE },
    { nonce: NONCE, blocks: [] },
    { nonce: NONCE, blocks: [4] },
    { nonce: NONCE, blocks: [-1] },
    { nonce: NONCE, blocks: [0.5] },
    { nonce: NONCE, blocks: ['0'] },
    { nonce: NONCE, blocks: 0 },
    { nonce: NONCE.slice(1), blocks: [0] },
    { nonce: NONCE.toUpperCase(), blocks: [0] },
    { nonce: 7, blocks: [0] },
  ]) {
    const answer = await prove(app, body);
    assert.deepEqual([answer.status, answer.code], [400, 'bad-request'], JSON.stringify(body));
  }
  const many = await prove(app, { nonce: NONCE, blocks: Array(PROVE_BLOCKS_MAX + 1).fill(0) });
  assert.deepEqual([many.status, many.code], [413, 'too-large']);
  const none = await app.request('POST', '/prove', { body: '{}', token: null });
  assert.deepEqual([none.status, none.code], [401, 'token-missing']);
  assert.equal((await app.request('GET', '/prove')).code, 'method-not-allowed');
  await using blind = await startReceiverApp({ blockCount: 4, isReadBack: false });
  await put(blind, 0);
  const refused = await prove(blind, { nonce: NONCE, blocks: [0] });
  assert.deepEqual([refused.status, refused.code], [409, 'state-refused']);
});
