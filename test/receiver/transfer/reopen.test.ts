/** Areas that the source could not give: taken and kept with a block, told, and mended after the seal. */
import assert from 'node:assert/strict';
import type { OutgoingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { DatabaseSync } from 'node:sqlite';
import type { Area } from '../../../common/areas.ts';
import { digestNow } from '../../../common/digest/digest.ts';
import { UNREADABLE_TOTAL_MAX } from '../../../receiver/durability/unreadable-areas.ts';
import { openForUpdate } from '../../../receiver/transfer/update.ts';
import type { Journal } from '../../../receiver/journal/journal.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { UNREADABLE_AREAS_MAX } from '../../../common/protocol/protocol.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, LAST_BYTES, contentOf, fastTempDir } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

const BLOCKS = 4;

async function put(
  app: ReceiverApp,
  index: number,
  areas?: string,
  options: { version?: number; flush?: 'y' | 'n' } = {},
): Promise<Answer> {
  const { version = 1, flush = 'y' } = options;
  const body = contentOf(app.transfer.claimed(), index, version);
  for (const [, offset, length] of (areas ?? '').matchAll(/(\d+)\+(\d+)/g)) {
    const at = Number(offset) - index * BLOCK_BYTES;
    const within = (place: number): number => Math.min(body.length, Math.max(0, place));
    body.fill(0, within(at), within(at + Number(length)));
  }
  const digest = digestNow(body).toString('hex');
  const headers: OutgoingHttpHeaders = areas === undefined ? {} : { 'ddt-source-errors': areas };
  return await app.request('PUT', `/blocks/${index}?flush=${flush}&digest=sha256:${digest}`, {
    body,
    headers,
  });
}

async function complete(app: ReceiverApp): Promise<Answer> {
  const { table, blockCount } = app.transfer.claimed();
  const root = digestNow(table.allDigests()).toString('hex');
  const body = JSON.stringify({ blockCount, root: `sha256:${root}` });
  return await app.request('POST', '/complete', { body });
}

function recorded(journal: Journal): (readonly [number, readonly Area[]])[] {
  return [...journal.blocks()].map(({ index, unreadable }) => [index, unreadable]);
}

async function listed(app: ReceiverApp): Promise<unknown> {
  return (await app.request('GET', '/transfer')).json()['unreadable'];
}

test('the areas of a block become durable with it, are told everywhere, and outlive the run', async () => {
  await using folder = await fastTempDir();
  const target = new MemoryTarget();
  const path = join(folder.path, 'journal.db');
  let journal = await SqliteJournal.open(path);
  {
    await using app = await startReceiverApp({ target, journal, blockCount: BLOCKS });
    assert.equal((await put(app, 0)).status, 201);
    assert.equal((await put(app, 1, `${2 * BLOCK_BYTES - 512}+512`, { flush: 'n' })).status, 202);
    assert.deepEqual(recorded(journal), [[0, []]]);
    const last = 3 * BLOCK_BYTES;
    await put(app, 2, `${2 * BLOCK_BYTES}+512, ${2 * BLOCK_BYTES + 1024}+512`);
    await put(app, 3, `${last + 512}+${LAST_BYTES - 512}`);
  }
  journal.close();
  journal = await SqliteJournal.open(path);
  await using app = await startReceiverApp({ target, journal, blockCount: BLOCKS });
  const two = 2 * BLOCK_BYTES;
  assert.deepEqual(recorded(journal), [
    [0, []],
    [1, [[two - 512, 512]]],
    [
      2,
      [
        [two, 512],
        [two + 1024, 512],
      ],
    ],
    [3, [[3 * BLOCK_BYTES + 512, LAST_BYTES - 512]]],
  ]);
  const joined = [
    [two - 512, 1024],
    [two + 1024, 512],
    [3 * BLOCK_BYTES + 512, LAST_BYTES - 512],
  ];
  const status = (await app.request('GET', '/transfer')).json();
  assert.deepEqual([status['unreadable'], status['unreadableCount']], [joined, 3]);
  const head = async (index: number): Promise<unknown> =>
    (await app.request('HEAD', `/blocks/${index}`)).headers['ddt-source-errors'];
  assert.deepEqual([await head(0), await head(2)], [undefined, `${two}+512, ${two + 1024}+512`]);
  const json = await app.request('GET', '/blocks?from=0&count=2');
  assert.deepEqual(JSON.parse(json.body.toString()), [
    { first: 0, count: 2, state: 'durable', unreadable: [[two - 512, 512]] },
  ]);
  const text = await app.request('GET', '/blocks?from=1&count=2', { headers: { accept: 'text/plain' } });
  const digests = [1, 2].map((index) => app.transfer.claimed().table.digestOf(index).toString('hex'));
  assert.equal(
    text.body.toString(),
    `1 durable ${digests[0]} ${two - 512}+512\n2 durable ${digests[1]} ${two}+512,${two + 1024}+512\n`,
  );
  assert.equal((await complete(app)).status, 200);
  assert.deepEqual((await app.request('GET', '/receipt')).json()['unreadable'], joined);
  journal.close();
});

test('the same bytes with other areas are left alone, and the areas are changed durably', async () => {
  await using folder = await fastTempDir();
  const target = new MemoryTarget();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  await using app = await startReceiverApp({ target, journal, blockCount: BLOCKS });
  const zeros = { version: 0 };
  await put(app, 1, `${BLOCK_BYTES}+512`, zeros);
  // Nothing is to be written.
  target.arm({ operation: 'write', errno: 'EIO', isForEver: true });
  assert.equal((await put(app, 1, `${BLOCK_BYTES + 512}+512`, zeros)).status, 200);
  assert.deepEqual(recorded(journal), [[1, [[BLOCK_BYTES + 512, 512]]]]);
  assert.equal((await put(app, 1, undefined, zeros)).status, 200);
  assert.deepEqual([recorded(journal), await listed(app)], [[[1, []]], []]);
  journal.close();
});

test('other bytes and zeros take the areas along', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  await put(app, 0, '0+512');
  await put(app, 0, undefined, { version: 2 });
  assert.deepEqual(await listed(app), []);
  // Zeros where zeros are: nothing is written, but now they were read.
  await put(app, 1, `${BLOCK_BYTES}+${BLOCK_BYTES}`, { version: 0 });
  assert.deepEqual(await listed(app), [[BLOCK_BYTES, BLOCK_BYTES]]);
  await app.request('POST', '/zero', { body: '{"ranges":[[1,1]]}' });
  assert.deepEqual(await listed(app), []);
});

test('a header that cannot be true is refused before anything is written', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  for (const areas of ['', '0+512', `${BLOCK_BYTES}+100`, `${BLOCK_BYTES}+512;`, `${2 * BLOCK_BYTES}+512`]) {
    const answer = await put(app, 1, areas);
    assert.deepEqual([answer.status, answer.code], [400, 'bad-request'], areas);
  }
  assert.equal((await app.request('HEAD', '/blocks/1')).status, 404);
});

test('as many areas as a block may have fit into the head of a request of any size of disk', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS, limits: { headerBytesMax: 16 * 1024 } });
  const areas = Array.from({ length: 64 }, (_, at) => `${BLOCK_BYTES + at * 1024}+512`).join(', ');
  assert.equal((await put(app, 1, areas)).status, 201);
  const long = Array.from({ length: 256 }, () => `${2 ** 53 - 2 ** 24}+16777216`).join(', ');
  const answer = await put(app, 1, long);
  assert.deepEqual([answer.status, answer.code], [400, 'bad-request']);
});

test('a sealed transfer is opened again where something may be mended, and only there', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  for (let index = 0; index < BLOCKS; index++) await put(app, index, index === 2 ? '131072+512' : undefined);
  assert.equal((await app.request('POST', '/reopen')).status, 200, 'it is open');
  await complete(app);
  const first = (await app.request('GET', '/receipt')).json();
  assert.equal((await put(app, 2)).code, 'sealed');
  const opened = await app.request('POST', '/reopen');
  assert.deepEqual([opened.status, opened.json()['state']], [200, 'open']);
  assert.equal((await app.request('GET', '/receipt')).code, 'not-found');
  assert.deepEqual(
    ['receipt', 'receiptSignature'].map((name) => app.transfer.journal.property(name)),
    [undefined, undefined],
  );
  assert.equal((await put(app, 2)).status, 200);
  assert.equal((await complete(app)).status, 200);
  const again = await app.request('POST', '/reopen');
  assert.deepEqual([again.status, again.code], [409, 'sealed']);
  const { unreadable, generation, previous } = (await app.request('GET', '/receipt')).json();
  const { sealedAt, root } = first;
  assert.deepEqual([unreadable, generation, previous], [[], 2, { generation: 1, sealedAt, root }]);
});

const AREA = `${2 * BLOCK_BYTES + 512}+1024`;

test('a sealed transfer that is opened again takes nothing but what was unreadable', async () => {
  await using folder = await fastTempDir();
  const target = new MemoryTarget();
  const path = join(folder.path, 'journal.db');
  let journal = await SqliteJournal.open(path);
  const version = { version: 2 };
  {
    await using app = await startReceiverApp({ target, journal, blockCount: BLOCKS });
    for (let index = 0; index < BLOCKS; index++) await put(app, index, index === 2 ? AREA : undefined);
    await complete(app);
    await app.request('POST', '/reopen');
    assert.equal((await put(app, 1, undefined, version)).code, 'sealed', 'another block');
    assert.equal((await put(app, 1)).code, 'sealed', 'even with the same bytes');
    assert.equal((await put(app, 2, undefined, version)).code, 'sealed', 'other bytes around the area');
  }
  journal.close();
  // The same after a restart.
  journal = await SqliteJournal.open(path);
  await using app = await startReceiverApp({ target, journal, blockCount: BLOCKS });
  assert.equal((await put(app, 1, undefined, version)).code, 'sealed');
  const more = `${2 * BLOCK_BYTES + 512}+1536`;
  assert.equal((await put(app, 2, more)).code, 'sealed', 'an area that was not unreadable');
  for (const index of [1, 2]) {
    const zeros = await app.request('POST', '/zero', { body: JSON.stringify({ ranges: [[index, 1]] }) });
    assert.equal(zeros.code, 'sealed', 'zeros');
  }
  const digest = app.transfer.claimed().table.digestOf(0).toString('hex');
  const copy = await app.request('POST', '/copy', {
    body: JSON.stringify({ from: 0, to: 2, digest: `sha256:${digest}` }),
  });
  assert.equal(copy.code, 'block-absent', 'a copy');
  // A part of the area may still be unreadable.
  assert.equal((await put(app, 2, `${2 * BLOCK_BYTES + 1024}+512`)).status, 200);
  assert.equal((await put(app, 2)).status, 200);
  assert.equal((await complete(app)).status, 200);
  assert.equal(app.transfer.reopened, undefined);
  assert.equal(journal.property('reopened'), undefined);
  journal.close();
});

test('unreadable areas of a block of zeros can be confirmed as zeros after the seal', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  for (let index = 0; index < BLOCKS; index++)
    await put(app, index, index === 2 ? AREA : undefined, { version: index === 2 ? 0 : 1 });
  await complete(app);
  await app.request('POST', '/reopen');
  const more = await put(app, 2, `${2 * BLOCK_BYTES + 512}+1536`, { version: 0 });
  assert.equal(more.code, 'sealed', 'zeros that were read cannot become unreadable');
  const zeros = await app.request('POST', '/zero', { body: '{"ranges":[[2,1]]}' });
  assert.deepEqual([zeros.status, await listed(app)], [200, []]);
  assert.equal((await complete(app)).status, 200);
});

test('--update lifts what a transfer that was opened again refuses', async () => {
  await using folder = await fastTempDir();
  const target = new MemoryTarget();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  {
    await using app = await startReceiverApp({ target, journal, blockCount: BLOCKS });
    for (let index = 0; index < BLOCKS; index++) await put(app, index, index === 2 ? AREA : undefined);
    await complete(app);
    await app.request('POST', '/reopen');
  }
  assert.equal(openForUpdate(journal), true);
  await using app = await startReceiverApp({ target, journal, blockCount: BLOCKS });
  assert.equal((await put(app, 1, undefined, { version: 2 })).status, 200);
  await complete(app);
  const { generation, previous } = (await app.request('GET', '/receipt')).json();
  assert.deepEqual([generation, (previous as { generation: number }).generation], [2, 1]);
  journal.close();
});

test('an area that holds other bytes than zeros is refused before anything is written', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  const body = Buffer.alloc(BLOCK_BYTES);
  body[1535] = 1;
  const digest = digestNow(body).toString('hex');
  const request = async (areas: string): Promise<Answer> =>
    await app.request('PUT', `/blocks/0?digest=sha256:${digest}`, {
      body,
      headers: { 'ddt-source-errors': areas },
    });
  for (const areas of ['512+1024', '1024+512', '0+512, 1024+2048']) {
    const answer = await request(areas);
    assert.deepEqual([answer.status, answer.code], [400, 'bad-request'], areas);
  }
  assert.equal((await app.request('HEAD', '/blocks/0')).status, 404);
  assert.equal((await request('0+1024')).status, 201);
});

test('areas over the limit of a transfer are refused, and what was taken stays', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  await put(app, 0, '0+512');
  const { unreadable } = app.transfer.claimed().table;
  // As if other blocks had them all but one.
  const areas = Array.from({ length: UNREADABLE_TOTAL_MAX - 2 }, (_, at): Area => [at * 1024, 512]);
  unreadable.set(3, areas);
  assert.equal((await put(app, 1, `${BLOCK_BYTES}+512`)).status, 201);
  const over = await put(app, 2, `${2 * BLOCK_BYTES}+512`);
  assert.deepEqual([over.status, over.code], [413, 'too-many-areas']);
  assert.match(String(over.json()['hint']), /ddrescue/);
  assert.equal((await put(app, 2)).status, 201, 'without any');
  assert.equal((await put(app, 1, `${BLOCK_BYTES + 512}+512`)).status, 200, 'as many as before');
});

test('the log names new areas once, and the seal says how much they are', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  await put(app, 0, '0+512');
  await put(app, 0, '0+512');
  for (let index = 1; index < BLOCKS; index++) await put(app, index, `${index * BLOCK_BYTES}+512`);
  await complete(app);
  assert.deepEqual(app.logged.slice(0, 2), [
    'warning: unreadable areas of the source, replaced by zeros: 0+512 (512 bytes in 1 area)',
    'warning: unreadable areas of the source, replaced by zeros: 65536+512, 131072+512, 196608+512 ' +
      '(1536 bytes in 3 areas)',
  ]);
  assert.match(
    app.logged[2] ?? '',
    /^sealed by .*: 4 blocks, root sha256:\w+, 2048 bytes in 4 areas of the source unreadable$/,
  );
});

test('more areas than can be listed become fewer that hold them all, with their number', async () => {
  const perBlock = BLOCK_BYTES / 1024;
  const blockCount = UNREADABLE_AREAS_MAX / perBlock + 2;
  await using app = await startReceiverApp({ blockCount });
  const { table } = app.transfer.claimed();
  for (let index = 0; index < blockCount - 1; index++) {
    const at = Array.from({ length: perBlock }, (_, sector): Area => [
      index * BLOCK_BYTES + sector * 1024,
      512,
    ]);
    table.unreadable.set(index, at);
  }
  const status = (await app.request('GET', '/transfer')).json();
  assert.equal((status['unreadable'] as unknown[]).length, UNREADABLE_AREAS_MAX);
  assert.equal(status['unreadableCount'], UNREADABLE_AREAS_MAX + perBlock);
});

test('a journal of the version before is refused', async () => {
  await using folder = await fastTempDir();
  const path = join(folder.path, 'journal.db');
  const database = new DatabaseSync(path);
  database.exec('PRAGMA user_version = 1');
  database.close();
  await assert.rejects(SqliteJournal.open(path), /has version 1, not 3/);
});
