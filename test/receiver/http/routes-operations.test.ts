import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { RECEIPT_NAMESPACE } from '../../../common/trust/receipt-signer.ts';
import { publicKeyLine } from '../../../common/trust/ssh-signature.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { contentOf, listedIn } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { isGoodForSshKeygen } from '../../support/ssh-keygen.ts';

async function put(app: ReceiverApp, index: number, version = 1, more = ''): Promise<Answer> {
  const body = contentOf(app.transfer.claimed(), index, version);
  const digest = digestNow(body).toString('hex');
  return await app.request('PUT', `/blocks/${index}?digest=sha256:${digest}${more}`, { body });
}

async function post(app: ReceiverApp, path: string, body: unknown): Promise<Answer> {
  return await app.request('POST', path, { body: typeof body === 'string' ? body : JSON.stringify(body) });
}

function outcomeOf(answer: Answer): [number, string | undefined] {
  return [answer.status, answer.code];
}

/** The sender's, for version 1 of every block. */
function completionOf(app: ReceiverApp): { blockCount: number; root: string } {
  const open = app.transfer.claimed();
  const digests = Array.from({ length: open.blockCount }, (_, index) => digestNow(contentOf(open, index, 1)));
  return { blockCount: open.blockCount, root: `sha256:${digestNow(Buffer.concat(digests)).toString('hex')}` };
}

test('the listing comes in three media types', async () => {
  await using app = await startReceiverApp({ blockCount: 4 });
  await put(app, 0);
  await put(app, 1);
  await put(app, 3, 1, '&flush=n');
  const [zero, one] = [0, 1].map((index) => digestNow(contentOf(app.transfer.claimed(), index, 1)));
  const json = await app.request('GET', '/blocks');
  assert.deepEqual([json.status, json.headers['content-type']], [200, 'application/json']);
  assert.deepEqual(JSON.parse(json.body.toString()), [
    { first: 0, count: 2, state: 'durable' },
    { first: 2, count: 1, state: 'absent' },
    { first: 3, count: 1, state: 'written' },
  ]);
  const text = await app.request('GET', '/blocks?from=1&count=2', { headers: { accept: 'text/plain' } });
  assert.equal(text.headers['content-type'], 'text/plain; charset=utf-8');
  assert.equal(text.body.toString(), `1 durable ${one?.toString('hex')}\n2 absent -\n`);
  const accept = 'application/vnd.ddt.digests';
  const binary = await app.request('GET', '/blocks', { headers: { accept } });
  assert.equal(binary.headers['content-type'], accept);
  assert.deepEqual(
    binary.body,
    Buffer.concat([zero ?? '', one ?? '', Buffer.alloc(64)].map((part) => Buffer.from(part))),
  );
  const missing = await app.request('GET', '/blocks?state=missing');
  assert.deepEqual(
    (JSON.parse(missing.body.toString()) as { first: number }[]).map(({ first }) => first),
    [2, 3],
  );
  for (const query of ['from=-1', 'from=5', 'count=65537', 'state=some', 'from=1e0', 'count=']) {
    assert.deepEqual(outcomeOf(await app.request('GET', `/blocks?${query}`)), [400, 'bad-request'], query);
  }
  const mixed = await app.request('GET', '/blocks?state=missing', { headers: { accept } });
  assert.deepEqual(outcomeOf(mixed), [400, 'bad-request']);
});

test('POST /zero fills ranges of blocks with zeros, flushed or not', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  for (let index = 0; index < 8; index++) await put(app, index, 1, '&flush=n');
  const twice = await app.request('POST', '/zero?flush=n&flush=y', { body: '{"ranges":[[0,2]]}' });
  assert.deepEqual([twice.status, twice.json()['code']], [400, 'bad-request']);
  const written = await app.request('POST', '/zero?flush=n', { body: '{"ranges":[[0,2]]}' });
  assert.equal(written.status, 202);
  const { transferId, epoch, ranges, state, generation } = written.json();
  assert.deepEqual([transferId, epoch], [app.transfer.id, app.transfer.epoch]);
  assert.deepEqual([ranges, state, generation], [[[0, 2]], 'written', 9]);
  const durable = await post(app, '/zero', {
    ranges: [
      [7, 1],
      [3, 2],
    ],
  });
  assert.deepEqual(
    [durable.status, durable.json()['state'], durable.json()['generation']],
    [200, 'durable', 11],
  );
  assert.equal(durable.headers['ddt-durable-generation'], '11');
  const media = target.crash();
  const zeroed = [0, 1, 2, 3, 4, 5, 6, 7].filter((index) =>
    media.bytesAt(index * 65_536, 100).equals(Buffer.alloc(100)),
  );
  assert.deepEqual(zeroed, [0, 1, 3, 4, 7]);
  assert.equal((await post(app, '/zero', { ranges: [] })).status, 200);
});

test('invalid ranges are refused, and nothing is zeroed', async () => {
  await using app = await startReceiverApp();
  await put(app, 0);
  const wrong = [
    '',
    '[]',
    '{}',
    '{"ranges":1}',
    '{"ranges":[[0,1],[8,1]]}',
    '{"ranges":[[0]]}',
    '{"ranges":[["0",1]]}',
    '{"ranges":[[0,9]]}',
    '{"ranges":[[-1,1]]}',
    '{"ranges":[[0,0]]}',
    '{"ranges":[[0,1.5]]}',
    '{"ranges":[[7,2]]}',
    JSON.stringify({ ranges: Array.from({ length: 4097 }, () => [0, 1]) }),
  ];
  for (const body of wrong)
    assert.deepEqual(outcomeOf(await post(app, '/zero', body)), [400, 'bad-request'], body.slice(0, 40));
  assert.equal(app.transfer.claimed().table.stateOf(0), 'durable');
});

test('a transfer is sealed once every block is there, and then refuses writes', async () => {
  await using app = await startReceiverApp({ blockCount: 3 });
  await put(app, 0);
  await put(app, 2);
  const incomplete = await post(app, '/complete', completionOf(app));
  assert.deepEqual([...outcomeOf(incomplete), incomplete.json()['missing']], [409, 'incomplete', [[1, 1]]]);
  await put(app, 1, 2);
  assert.deepEqual(outcomeOf(await post(app, '/complete', completionOf(app))), [409, 'root-mismatch']);
  assert.deepEqual(outcomeOf(await app.request('GET', '/receipt')), [404, 'not-found']);
  await put(app, 1, 1, '&flush=n');
  const wrong = [
    '',
    '{}',
    { blockCount: 3 },
    { ...completionOf(app), blockCount: '3' },
    { ...completionOf(app), blockCount: 4 },
  ];
  for (const body of [...wrong, { ...completionOf(app), root: completionOf(app).root.slice(7) }]) {
    assert.deepEqual(
      outcomeOf(await post(app, '/complete', body)),
      [400, 'bad-request'],
      JSON.stringify(body),
    );
  }
  assert.equal(app.sealedCount, 0);
  const sealed = await post(app, '/complete', completionOf(app));
  assert.deepEqual([sealed.status, app.sealedCount], [200, 1]);
  const again = await post(app, '/complete', completionOf(app));
  assert.deepEqual(again.json(), sealed.json());
  assert.equal(app.transfer.status().state, 'sealed');
  assert.deepEqual(outcomeOf(await put(app, 0)), [409, 'sealed']);
  assert.deepEqual(outcomeOf(await post(app, '/zero', { ranges: [[0, 1]] })), [409, 'sealed']);
  for (const [method, path] of [
    ['POST', '/flush'],
    ['GET', '/blocks'],
    ['GET', '/blocks/1'],
    ['HEAD', '/blocks/1'],
    ['GET', '/transfer'],
  ] as const) {
    assert.equal((await app.request(method, path)).status, 200, path);
  }
});

test(
  'the receipt is served as the exact bytes that ssh-keygen verifies',
  { skip: unlessInstalled('ssh-keygen') },
  async () => {
    await using app = await startReceiverApp({ blockCount: 1 });
    await put(app, 0);
    const sealed = await post(app, '/complete', completionOf(app));
    const receipt = await app.request('GET', '/receipt');
    const part = await app.request('GET', '/receipt?part=signature');
    assert.deepEqual(
      [receipt.headers['content-type'], part.headers['content-type']],
      ['application/json', 'text/plain'],
    );
    const [text, signature] = [receipt.body.toString(), part.body.toString()];
    assert.deepEqual(sealed.json(), { receipt: receipt.json(), text, signature, changedCount: 0 });
    const signed = { message: receipt.body, signature, namespace: RECEIPT_NAMESPACE };
    assert.equal(await isGoodForSshKeygen(signed, publicKeyLine(app.key.publicKey, 'ddt-receive')), true);
    const { transferId, root, verified } = receipt.json();
    assert.deepEqual([transferId, root, verified], [app.transfer.id, completionOf(app).root, 'none']);
  },
);

test('a device error is 500 with its errno, in a new epoch', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  for (const operation of ['write', 'flush'] as const) {
    await put(app, 1, 1, '&flush=n');
    const { epoch } = app.transfer;
    target.arm({ operation, errno: 'EIO' });
    const failed = await put(app, 0);
    assert.deepEqual([...outcomeOf(failed), failed.json()['errno']], [500, 'io-error', 'EIO']);
    assert.notEqual(failed.headers['ddt-epoch'], epoch);
    assert.deepEqual(
      [failed.headers['ddt-epoch'], failed.headers['ddt-durable-generation']],
      [app.transfer.epoch, '0'],
    );
    assert.equal((await app.request('HEAD', '/blocks/1')).status, 404);
    // Logged once, when the epoch ends, and not for each request that fails with it.
    assert.equal(app.epochEnds.length, operation === 'write' ? 1 : 2);
    assert.match(app.epochEnds.at(-1)?.message ?? '', /^(block 0: cannot write|cannot flush) memory: EIO$/);
    assert.deepEqual(app.logged, [
      'warning: block 0: cannot write memory: EIO; 1 block that was not flushed yet will be sent again',
    ]);
  }
  for (const [round, path] of ['/flush', '/zero', '/complete'].entries()) {
    // A good flush in between: after three failures in a row writes are refused for a while.
    assert.equal((await put(app, 2, 5 + round)).status < 300, true);
    await put(app, 1, 1, '&flush=n');
    target.arm({ operation: 'flush', errno: 'EIO' });
    const body = path === '/zero' ? { ranges: [[0, 1]] } : completionOf(app);
    assert.deepEqual(outcomeOf(await post(app, path, body)), [500, 'io-error'], path);
  }
  assert.deepEqual([...listedIn(app.transfer.journal).keys()], [2]);
  assert.equal((await put(app, 0)).status, 201);
});

test('a full target is 507 with Retry-After', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  target.arm({ operation: 'write', errno: 'ENOSPC' });
  const full = await put(app, 0);
  assert.deepEqual([...outcomeOf(full), full.headers['retry-after']], [507, 'no-space', '1']);
  assert.equal((await put(app, 0)).status, 201);
});

test('a bug is 500 without details; its stack is in the log', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  await put(app, 0);
  await target.close();
  const answer = await app.request('GET', '/blocks/0');
  assert.deepEqual(outcomeOf(answer), [500, 'internal']);
  assert(!answer.body.toString().includes('memory'));
  assert.match(app.logged.join(''), /bug: Error: the memory target is closed\n +at /);
});
