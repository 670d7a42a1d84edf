/** What a token allows: to read, or everything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

const READING = ['/transfer', '/blocks', '/blocks/0', '/receipt'];
const WRITING: readonly (readonly [string, string, string?])[] = [
  ['PUT', '/transfer', '{}'],
  ['PUT', '/blocks/0', 'x'],
  ['POST', '/zero', '{"ranges":[[0,1]]}'],
  ['POST', '/copy', '{}'],
  ['POST', '/flush'],
  ['POST', '/verify'],
  ['POST', '/complete', '{}'],
  ['POST', '/reopen'],
  ['DELETE', '/transfer'],
];

async function sealed(): Promise<ReceiverApp> {
  const app = await startReceiverApp({ blockCount: 1, isReadBack: true });
  const body = contentOf(app.transfer.claimed(), 0, 1);
  const digest = digestNow(body);
  await app.request('PUT', `/blocks/0?digest=sha256:${digest.toString('hex')}`, { body });
  const root = `sha256:${digestNow(digest).toString('hex')}`;
  const complete = async (): Promise<number> =>
    (await app.request('POST', '/complete', { body: JSON.stringify({ blockCount: 1, root }) })).status;
  while ((await complete()) === 202);
  return app;
}

test('a token that allows to read reads everything and changes nothing', async () => {
  await using app = await sealed();
  const token = app.mint({ scope: ['read'] });
  for (const path of READING) {
    for (const method of path === '/receipt' ? ['GET'] : ['GET', 'HEAD']) {
      assert.equal((await app.request(method, path, { token })).status, 200, `${method} ${path}`);
    }
  }
  for (const [method, path, body] of WRITING) {
    const answer = await app.request(method, path, { token, ...(body === undefined ? {} : { body }) });
    assert.deepEqual([answer.status, answer.code], [403, 'scope'], `${method} ${path}`);
  }
  const other = app.mint({ scope: ['metrics'] });
  assert.equal((await app.request('GET', '/transfer', { token: other })).code, 'scope');
});

test('a token that allows to read cannot hold the transfer as its sender', async () => {
  await using app = await startReceiverApp({ blockCount: 1 });
  const reader = { token: app.mint({ scope: ['read'] }), headers: { 'ddt-sender': 'a reader' } };
  assert.equal((await app.request('GET', '/transfer', reader)).status, 200);
  assert.equal((await app.request('GET', '/transfer', { headers: { 'ddt-sender': 'b' } })).status, 200);
  assert.equal((await app.request('GET', '/transfer', reader)).status, 200, 'nor has it to wait');
});

test('of a sealed transfer a token that allows to write can read, and prove it again', async () => {
  await using app = await sealed();
  const { blockSize, size, source } = (await app.request('GET', '/transfer')).json();
  const claim = JSON.stringify({ blockSize, size, source });
  assert.equal((await app.request('PUT', '/transfer', { body: claim })).status, 200);
  assert.equal((await app.request('POST', '/verify')).status, 202);
  assert.equal((await app.request('POST', '/flush')).status, 200);
  for (const path of READING) assert.equal((await app.request('GET', path)).status, 200, path);
  const body = contentOf(app.transfer.claimed(), 0, 2);
  const put = `/blocks/0?digest=sha256:${digestNow(body).toString('hex')}`;
  assert.equal((await app.request('PUT', put, { body })).code, 'sealed');
  assert.equal((await app.request('POST', '/zero', { body: '{"ranges":[[0,1]]}' })).code, 'sealed');
  assert.equal((await app.request('POST', '/copy', { body: '{}' })).code, 'sealed');
  assert.equal((await app.request('POST', '/reopen')).code, 'sealed');
});
