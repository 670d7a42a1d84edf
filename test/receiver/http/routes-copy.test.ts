import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIGEST_NAMES } from '../../../common/digest/digest-names.ts';
import { DIGESTS, digestIn, digestNow, type DigestAlgorithm } from '../../../common/digest/digest.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, contentOf, digestOn, listedIn } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

/** @param source whose content the block gets. */
async function put(app: ReceiverApp, index: number, source = index, more = ''): Promise<Answer> {
  const body = contentOf(app.transfer.claimed(), source, 1);
  const digest = digestNow(body).toString('hex');
  return await app.request('PUT', `/blocks/${index}?digest=sha256:${digest}${more}`, { body });
}

function digestOf(app: ReceiverApp, index: number, algorithm: DigestAlgorithm = 'sha-256'): string {
  const hex = digestIn(DIGESTS, algorithm)
    ?.now(contentOf(app.transfer.claimed(), index, 1))
    .toString('hex');
  return `${DIGEST_NAMES[algorithm]}:${hex}`;
}

async function copy(
  app: ReceiverApp,
  from: number,
  to: number,
  digest = digestOf(app, from),
): Promise<Answer> {
  return await app.request('POST', '/copy', { body: JSON.stringify({ from, to, digest }) });
}

function outcomeOf(answer: Answer): [number, string | undefined] {
  return [answer.status, answer.code];
}

test('a block is copied, and is as durable as one that was sent', async () => {
  for (const digest of ['sha-256', 'blake3'] as const) {
    const target = new MemoryTarget();
    await using app = await startReceiverApp({ target, digest });
    await put(app, 1);
    const answer = await copy(app, 1, 5, digestOf(app, 1, digest));
    assert.equal(answer.status, 201, answer.body.toString());
    const { index, offset, length, state, transferId, generation } = answer.json();
    assert.deepEqual([index, offset, length, state], [5, 5 * BLOCK_BYTES, BLOCK_BYTES, 'durable']);
    assert.deepEqual([transferId, generation], [app.transfer.id, 2]);
    const [name, hex] = digestOf(app, 1, digest).split(':');
    assert.equal(answer.json()[name ?? ''], hex);
    const open = app.transfer.claimed();
    const plain = digestOf(app, 1).slice('sha256:'.length);
    assert.deepEqual([digestOn(target.crash(), open, 1), digestOn(target.crash(), open, 5)], [plain, plain]);
    assert.deepEqual(
      [...listedIn(app.transfer.journal)],
      [
        [1, hex],
        [5, hex],
      ],
    );
    // Once more: there is nothing to write.
    assert.equal((await copy(app, 1, 5, digestOf(app, 1, digest))).status, 200);
    assert.equal(open.slabs.freeCount, open.slabs.slabCount);
  }
});

test('without flushing it is written only, and a flush makes it durable', async () => {
  await using app = await startReceiverApp();
  await put(app, 0);
  const body = JSON.stringify({ from: 0, to: 1, digest: digestOf(app, 0) });
  const answer = await app.request('POST', '/copy?flush=n', { body });
  assert.deepEqual([answer.status, answer.json()['state']], [202, 'written']);
  assert.equal(app.transfer.claimed().table.stateOf(1), 'written');
  await app.request('POST', '/flush');
  assert.equal(app.transfer.claimed().table.stateOf(1), 'durable');
  assert.deepEqual(outcomeOf(await app.request('POST', '/copy?flush=x', { body })), [400, 'bad-request']);
});

test('what is no pair of two blocks and a digest is refused', async () => {
  await using app = await startReceiverApp();
  await put(app, 0);
  const digest = digestOf(app, 0);
  const good = { from: 0, to: 1, digest };
  const wrong = [
    '',
    '{',
    '[]',
    'null',
    '{}',
    ...[
      { ...good, from: -1 },
      { ...good, from: 0.5 },
      { ...good, from: '0' },
      { ...good, from: 8 },
      { ...good, to: 8 },
      { ...good, to: 1e300 },
      { ...good, to: null },
      { ...good, to: 0 },
      { ...good, digest: digest.slice(7) },
      { ...good, digest: `${digest}0` },
      { ...good, digest: digest.toUpperCase() },
      { ...good, digest: 7 },
      // Of the other algorithm.
      { ...good, digest: digest.replace('sha256', 'blake3') },
    ].map((body) => JSON.stringify(body)),
  ];
  for (const body of wrong) {
    assert.deepEqual(outcomeOf(await app.request('POST', '/copy', { body })), [400, 'bad-request'], body);
  }
  assert.deepEqual(outcomeOf(await app.request('GET', '/copy')), [405, 'method-not-allowed']);
  const anyone = await app.request('POST', '/copy', { body: JSON.stringify(good), token: null });
  assert.equal(anyone.status, 401);
  const { table } = app.transfer.claimed();
  assert.deepEqual([table.stateOf(0), table.stateOf(1)], ['durable', 'absent']);
});

test('only a durable block with this digest and length is copied', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  const refused = [404, 'block-absent'];
  assert.deepEqual(outcomeOf(await copy(app, 0, 1)), refused, 'absent');
  const gate = target.hold('flush');
  await put(app, 0, 0, '&flush=n');
  assert.deepEqual(outcomeOf(await copy(app, 0, 1)), refused, 'written only');
  gate.open();
  await app.request('POST', '/flush');
  assert.deepEqual(outcomeOf(await copy(app, 0, 1, digestOf(app, 3))), refused, 'another digest');
  // The last one is short.
  await put(app, 7);
  assert.deepEqual(outcomeOf(await copy(app, 0, 7)), refused, 'longer than its place');
  assert.deepEqual(outcomeOf(await copy(app, 7, 1)), refused, 'shorter than its place');
  const zeros = Buffer.alloc(BLOCK_BYTES);
  const unread = await app.request('PUT', `/blocks/3?digest=sha256:${digestNow(zeros).toString('hex')}`, {
    body: zeros,
    headers: { 'ddt-source-errors': `${3 * BLOCK_BYTES}+512` },
  });
  assert.equal(unread.status, 201, unread.body.toString());
  const digest = `sha256:${digestNow(zeros).toString('hex')}`;
  assert.deepEqual(outcomeOf(await copy(app, 3, 1, digest)), refused, 'not read at the source');
  assert.equal(app.transfer.claimed().table.stateOf(1), 'absent');
  const { slabs } = app.transfer.claimed();
  assert.equal(slabs.freeCount, slabs.slabCount);
});

test('a block that others have changed is not copied, and is read back again', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, isReadBack: true });
  await put(app, 0);
  const { table, verifier } = app.transfer.claimed();
  await verifier?.settle();
  assert.equal(table.stateOf(0), 'verified');
  target.writeAsOther(Buffer.from('others'), 100);
  assert.deepEqual(outcomeOf(await copy(app, 0, 1)), [404, 'block-absent']);
  await verifier?.settle();
  assert.deepEqual([table.stateOf(0), table.stateOf(1)], ['absent', 'absent']);
});

test('a block that cannot be read is not copied; the epoch goes on', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  await put(app, 0);
  const { epoch } = app.transfer;
  target.arm({ operation: 'read', errno: 'EIO' });
  const answer = await copy(app, 0, 1);
  assert.deepEqual(outcomeOf(answer), [404, 'block-absent']);
  assert.match(String(answer.json()['detail']), /^cannot copy block 0: cannot read memory: EIO/);
  assert.equal(app.transfer.epoch, epoch);
  assert.equal((await copy(app, 0, 1)).status, 201);
});

test('a write that fails ends the epoch, as with a block that was sent', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  await put(app, 0);
  const { epoch } = app.transfer;
  target.arm({ operation: 'write', errno: 'EIO' });
  assert.deepEqual(outcomeOf(await copy(app, 0, 1)), [500, 'io-error']);
  assert.notEqual(app.transfer.epoch, epoch);
  target.arm({ operation: 'write', errno: 'ENOSPC' });
  assert.deepEqual(outcomeOf(await copy(app, 0, 1)), [507, 'no-space']);
  assert.equal(app.transfer.claimed().table.stateOf(1), 'absent');
  assert.equal((await copy(app, 0, 1)).status, 201);
});

test('copies that cross, readers and little memory do not block each other', async () => {
  const target = new MemoryTarget();
  // Two blocks of memory.
  await using app = await startReceiverApp({ target, memoryBytes: 1 });
  const open = app.transfer.claimed();
  assert.equal(open.slabs.slabCount, 2);
  await put(app, 1);
  await put(app, 2, 1);
  const digest = digestOf(app, 1);
  const requests = Array.from({ length: 60 }, async (_, at) => {
    if (at % 3 === 2) return await app.request('GET', `/blocks/${1 + (at % 2)}`);
    const [from, to] = at % 2 === 0 ? [1, 2] : [2, 1];
    return await copy(app, from, to, digest);
  });
  const statuses = (await Promise.all(requests)).map(({ status }) => status);
  assert.deepEqual([...new Set(statuses)], [200]);
  assert.equal(open.slabs.freeCount, 2);
});

test('nothing is copied onto a sealed transfer, or before there is a claim', async () => {
  await using unclaimed = await startReceiverApp({ blockCount: null });
  const body = JSON.stringify({ from: 0, to: 1, digest: `sha256:${'00'.repeat(32)}` });
  assert.deepEqual(outcomeOf(await unclaimed.request('POST', '/copy', { body })), [409, 'not-claimed']);
  await using app = await startReceiverApp({ blockCount: 2 });
  await put(app, 0);
  await put(app, 1);
  const open = app.transfer.claimed();
  const root = digestNow(Buffer.concat([0, 1].map((index) => digestNow(contentOf(open, index, 1)))));
  const seal = JSON.stringify({ blockCount: 2, root: `sha256:${root.toString('hex')}` });
  assert.equal((await app.request('POST', '/complete', { body: seal })).status, 200);
  assert.deepEqual(outcomeOf(await copy(app, 0, 1)), [409, 'sealed']);
});
