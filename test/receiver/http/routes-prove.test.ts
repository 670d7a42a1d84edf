/** POST /prove: digests with a nonce, of what the target has now and not of what is recorded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Area } from '../../../common/areas.ts';
import { digestNow } from '../../../common/digest/digest.ts';
import {
  PROVE_AREAS_MAX,
  PROVE_AREA_BYTES_MAX,
  type ProveResult,
} from '../../../common/protocol/protocol.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, LAST_BYTES, claimOf, contentOf } from '../../support/open-transfer.ts';
import { prng } from '../../support/prng.ts';
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

/** The whole of a block. */
function areaOf(index: number): Area {
  return [index * BLOCK_BYTES, BLOCK_BYTES];
}

async function digestOf(app: ReceiverApp, area: Area): Promise<readonly string[]> {
  const answer = await prove(app, { nonce: NONCE, areas: [area] });
  return (JSON.parse(answer.body.toString()) as ProveResult).digests;
}

function expected(bytes: Buffer): string {
  return digestNow(Buffer.concat([Buffer.from(NONCE), bytes])).toString('hex');
}

test('areas are read from the target and hashed with the nonce, in any order', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, blockCount: 4, isReadBack: true });
  for (const index of [0, 1, 3]) await put(app, index);
  const areas = [[3 * BLOCK_BYTES, LAST_BYTES], areaOf(0), [4096, 100]];
  const { status, body } = await prove(app, { nonce: NONCE, areas });
  const result = JSON.parse(body.toString()) as ProveResult;
  const [last, first] = [3, 0].map((index) => contentOf(app.transfer.claimed(), index, 1));
  assert(last !== undefined && first !== undefined);
  const digests = [last, first, first.subarray(4096, 4196)].map(expected);
  assert.deepEqual([status, result], [200, { transferId: app.transfer.id, nonce: NONCE, areas, digests }]);
  const absent = await prove(app, { nonce: NONCE, areas: [areaOf(0), areaOf(2)] });
  assert.deepEqual([absent.status, absent.code], [404, 'block-absent']);
  // What another program wrote is what the target has.
  const other = Buffer.alloc(BLOCK_BYTES, 7);
  target.writeAsOther(other, BLOCK_BYTES);
  assert.deepEqual(await digestOf(app, areaOf(1)), [expected(other)]);
  // What is only in the page cache is not.
  await target.write(Buffer.alloc(BLOCK_BYTES, 9), BLOCK_BYTES);
  assert.deepEqual(await digestOf(app, areaOf(1)), [expected(other)]);
});

test('it takes one slab, whatever the number of areas', async () => {
  const memoryBytes = BLOCK_BYTES + 4096;
  await using app = await startReceiverApp({ blockCount: 8, isReadBack: true, memoryBytes });
  for (let index = 0; index < 8; index++) await put(app, index);
  const areas = Array.from({ length: PROVE_AREAS_MAX }, (_, nth) => areaOf(nth % 7));
  assert.equal((await prove(app, { nonce: NONCE, areas })).status, 200);
});

test('of a large block a part is proven, and not all at once', async () => {
  await using app = await startReceiverApp({ blockCount: null, isReadBack: true });
  const bytes = prng(5).bytes(4 * PROVE_AREA_BYTES_MAX);
  const claim = { ...claimOf(1), size: bytes.length, blockSize: bytes.length };
  assert.equal((await app.request('PUT', '/transfer', { body: JSON.stringify(claim) })).status, 201);
  const digest = digestNow(bytes).toString('hex');
  assert.equal((await app.request('PUT', `/blocks/0?digest=sha256:${digest}`, { body: bytes })).status, 201);
  const area: Area = [PROVE_AREA_BYTES_MAX, PROVE_AREA_BYTES_MAX];
  const part = bytes.subarray(PROVE_AREA_BYTES_MAX, 2 * PROVE_AREA_BYTES_MAX);
  assert.deepEqual(await digestOf(app, area), [expected(part)]);
  const long = await prove(app, { nonce: NONCE, areas: [[0, PROVE_AREA_BYTES_MAX + 1]] });
  assert.deepEqual([long.status, long.code], [400, 'bad-request']);
});

test('what is not a request for a proof is refused, and so is one where nothing is read back', async () => {
  await using app = await startReceiverApp({ blockCount: 4, isReadBack: true });
  await put(app, 0);
  for (const body of [
    {},
    { nonce: NONCE },
    { nonce: NONCE, areas: [] },
    { nonce: NONCE, areas: 0 },
    { nonce: NONCE, areas: [0] },
    { nonce: NONCE, areas: [[0]] },
    { nonce: NONCE, areas: [[0, 1, 1]] },
    { nonce: NONCE, areas: [['0', 1]] },
    { nonce: NONCE, areas: [[0, 0]] },
    { nonce: NONCE, areas: [[0, 0.5]] },
    { nonce: NONCE, areas: [[-4096, 4096]] },
    { nonce: NONCE, areas: [[512, 512]] },
    { nonce: NONCE, areas: [[0, BLOCK_BYTES + 1]] },
    { nonce: NONCE, areas: [[4096, BLOCK_BYTES]] },
    { nonce: NONCE, areas: [[4 * BLOCK_BYTES, 1]] },
    { nonce: NONCE.slice(1), areas: [areaOf(0)] },
    { nonce: NONCE.toUpperCase(), areas: [areaOf(0)] },
    { nonce: 7, areas: [areaOf(0)] },
  ]) {
    const answer = await prove(app, body);
    assert.deepEqual([answer.status, answer.code], [400, 'bad-request'], JSON.stringify(body));
  }
  const many = await prove(app, { nonce: NONCE, areas: Array(PROVE_AREAS_MAX + 1).fill(areaOf(0)) });
  assert.deepEqual([many.status, many.code], [413, 'too-large']);
  const none = await app.request('POST', '/prove', { body: '{}', token: null });
  assert.deepEqual([none.status, none.code], [401, 'token-missing']);
  assert.equal((await app.request('GET', '/prove')).code, 'method-not-allowed');
  await using blind = await startReceiverApp({ blockCount: 4, isReadBack: false });
  await put(blind, 0);
  const refused = await prove(blind, { nonce: NONCE, areas: [areaOf(0)] });
  assert.deepEqual([refused.status, refused.code], [409, 'state-refused']);
});
