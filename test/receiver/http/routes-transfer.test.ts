import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, claimOf } from '../../support/open-transfer.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';

const RESOURCES: readonly (readonly [string, string])[] = [
  ['GET', '/transfer'],
  ['PUT', '/transfer'],
  ['GET', '/blocks'],
  ['GET', '/blocks/0'],
  ['HEAD', '/blocks/0'],
  ['PUT', '/blocks/0'],
  ['POST', '/zero'],
  ['POST', '/flush'],
  ['POST', '/complete'],
  ['GET', '/receipt'],
];

function outcomeOf(answer: Answer): [number, string | undefined] {
  return [answer.status, answer.code];
}

test('/health needs no token and says nothing', async () => {
  await using app = await startReceiverApp();
  const answer = await app.request('GET', '/health', { token: null });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json(), { status: 'ok' });
  assert.equal((await app.request('HEAD', '/health', { token: null })).status, 200);
  assert.deepEqual(outcomeOf(await app.request('POST', '/health')), [405, 'method-not-allowed']);
});

test('with a token every response has epoch and durable generation', async () => {
  await using app = await startReceiverApp();
  for (const [method, path] of RESOURCES) {
    const { headers } = await app.request(method, path);
    const { epoch, durableGeneration } = app.transfer;
    assert.equal(headers['cache-control'], 'no-store');
    assert.notEqual(headers.date, undefined);
    assert.deepEqual(
      [headers['ddt-epoch'], headers['ddt-durable-generation']],
      [epoch, String(durableGeneration)],
    );
  }
});

test('a stranger learns that something answers, and the connection is closed', async () => {
  await using app = await startReceiverApp();
  const answers = [
    await app.request('GET', '/health', { token: null }),
    await app.request('GET', '/nothing', { token: null }),
    await app.request('POST', '/health', { token: null }),
  ];
  for (const [method, path] of RESOURCES) {
    answers.push(await app.request(method, path, { token: null }));
    answers.push(await app.request(method, path, { token: app.mint({}, makeSigningKey()) }));
  }
  const known = ['cache-control', 'connection', 'content-length', 'content-type', 'www-authenticate'];
  for (const { headers, body } of answers) {
    assert.deepEqual([headers['cache-control'], headers.connection], ['no-store', 'close']);
    assert.deepEqual(
      Object.keys(headers).filter((name) => !known.includes(name)),
      [],
    );
    assert.doesNotMatch(body.toString(), /ddt|dd-transfer/);
  }
});

test('every resource needs a token that is valid here and now', async () => {
  const clock = new FakeClock();
  await using app = await startReceiverApp({ clock });
  const now = Math.floor(clock.wallMs() / 1000);
  const tokens: [string | null, number, string][] = [
    [null, 401, 'token-missing'],
    ['junk', 401, 'token-invalid'],
    [`${app.token}x`, 401, 'token-invalid'],
    [app.mint({}, makeSigningKey()), 401, 'token-invalid'],
    [app.mint({ tid: 'another' }), 401, 'token-invalid'],
    [app.mint({ aud: 'sha256//another' }), 401, 'token-invalid'],
    [app.mint({ iat: now - 100, exp: now }), 401, 'token-expired'],
    [app.mint({ scope: ['metrics'] }), 403, 'scope'],
  ];
  for (const [method, path] of RESOURCES) {
    for (const [token, status, code] of tokens) {
      const answer = await app.request(method, path, { token });
      const expected = method === 'HEAD' ? [status, undefined] : [status, code];
      assert.deepEqual(outcomeOf(answer), expected, `${method} ${path}`);
      assert.equal(answer.headers['www-authenticate'], status === 401 ? 'Bearer' : undefined);
    }
  }
  const secret = app.token.slice(-20);
  assert(app.logged.length > 0 && app.logged.every((line) => !line.includes(secret)));
});

test('an unknown path is 404 without a token, too', async () => {
  await using app = await startReceiverApp();
  for (const path of [
    '/',
    '/nothing',
    '/blocks/',
    '/transfer/',
    '//transfer',
    '/Transfer',
    '/health/../transfer',
  ]) {
    assert.deepEqual(outcomeOf(await app.request('GET', path, { token: null })), [404, 'not-found'], path);
  }
});

test('another method is 405, and only for those with a token', async () => {
  await using app = await startReceiverApp();
  const others: [string, string][] = [
    ['POST', '/transfer'],
    ['DELETE', '/blocks/0'],
    ['PATCH', '/blocks/0'],
    ['POST', '/blocks/0'],
    ['PUT', '/blocks'],
    ['GET', '/zero'],
    ['GET', '/flush'],
    ['GET', '/complete'],
    ['PUT', '/receipt'],
    ['OPTIONS', '/transfer'],
    ['TRACE', '/transfer'],
  ];
  for (const [method, path] of others) {
    assert.deepEqual(
      outcomeOf(await app.request(method, path)),
      [405, 'method-not-allowed'],
      `${method} ${path}`,
    );
  }
  assert.deepEqual(outcomeOf(await app.request('HEAD', '/transfer')), [200, undefined]);
  for (const path of ['/zero', '/flush', '/complete', '/reopen']) {
    assert.equal((await app.request('HEAD', path)).status, 405, path);
  }
  const { status, code } = await app.request('DELETE', '/transfer', { token: null });
  assert.deepEqual([status, code], [401, 'token-missing'], 'which methods there are is not for strangers');
});

test('a receiver that is stopping refuses everything but /health', async () => {
  await using app = await startReceiverApp();
  app.isDraining = true;
  for (const [method, path] of RESOURCES) {
    const answer = await app.request(method, path);
    assert.equal(answer.status, 503);
    assert.equal(answer.code, method === 'HEAD' ? undefined : 'draining');
    assert.equal(answer.headers['retry-after'], '1');
  }
  assert.deepEqual(outcomeOf(await app.request('GET', '/transfer', { token: null })), [401, 'token-missing']);
  assert.equal((await app.request('GET', '/health')).status, 200);
});

test('before the claim there are no blocks', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const { state, transferId, size } = (await app.request('GET', '/transfer')).json();
  assert.deepEqual([state, transferId, size], ['unclaimed', app.transfer.id, null]);
  for (const [method, path] of RESOURCES) {
    if (path === '/transfer') continue;
    const body =
      path === '/complete' ? JSON.stringify({ blockCount: 0, root: `sha256:${'0'.repeat(64)}` }) : '{}';
    const answer = await app.request(method, path, method === 'POST' ? { body } : {});
    const expected =
      path === '/receipt' ? [404, 'not-found'] : [409, method === 'HEAD' ? undefined : 'not-claimed'];
    assert.deepEqual(outcomeOf(answer), expected, `${method} ${path}`);
  }
});

test('the first claim is 201, the same again 200, a different one 409', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const claim = async (blockCount: number): Promise<Answer> =>
    await app.request('PUT', '/transfer', { body: JSON.stringify(claimOf(blockCount)) });
  const first = await claim(3);
  assert.equal(first.status, 201);
  assert.equal(first.headers['ddt-epoch'], app.transfer.epoch);
  assert.deepEqual(first.json(), (await app.request('GET', '/transfer')).json());
  assert.deepEqual(first.json(), { ...app.transfer.status() });
  assert.equal((await claim(3)).status, 200);
  const other = await claim(4);
  assert.deepEqual(outcomeOf(other), [409, 'transfer-mismatch']);
  assert.match(String(other.json()['detail']), /--discard-transfer/);
});

test('a claim that exceeds the target is 507, a malformed one 400', async () => {
  const target = new MemoryTarget({ capacityBytes: BLOCK_BYTES });
  await using app = await startReceiverApp({ blockCount: null, target });
  const claim = claimOf(2);
  const put = async (body: string): Promise<Answer> => await app.request('PUT', '/transfer', { body });
  assert.deepEqual(outcomeOf(await put(JSON.stringify(claim))), [507, 'target-too-small']);
  const wrong = [
    '',
    'no JSON',
    '[]',
    'null',
    '7',
    '{}',
    '{"size":1,"blockSize":65536}',
    ...[
      { size: '1' },
      { size: undefined },
      { blockSize: null },
      { source: 'disk' },
      { source: null },
      { size: -1 },
      { size: 1e300 },
    ].map((change) => JSON.stringify({ ...claim, ...change })),
  ];
  for (const body of wrong) assert.deepEqual(outcomeOf(await put(body)), [400, 'bad-request'], body);
  assert.equal(app.transfer.opened, undefined);
});

test('a pipe claims without a size, and again with its size', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const claim = { ...claimOf(2), stream: true };
  const put = async (size: number | null): Promise<Answer> =>
    await app.request('PUT', '/transfer', { body: JSON.stringify({ ...claim, size }) });
  const first = await put(null);
  assert.deepEqual([first.status, first.json()['size'], first.json()['sizeMax']], [201, null, 2 ** 24]);
  const root = `sha256:${'0'.repeat(64)}`;
  const sealing = await app.request('POST', '/complete', { body: JSON.stringify({ blockCount: 2, root }) });
  assert.deepEqual(outcomeOf(sealing), [409, 'size-unknown']);
  const { stream: _stream, ...disk } = claim;
  const mixed = await app.request('PUT', '/transfer', { body: JSON.stringify(disk) });
  assert.deepEqual(outcomeOf(mixed), [409, 'transfer-mismatch']);
  const second = await put(claim.size);
  assert.deepEqual(
    [second.status, second.json()['size'], second.json()['blockCount'], second.json()['sizeMax']],
    [200, claim.size, 2, null],
  );
  assert.equal((await put(null)).status, 200);
  assert.deepEqual(app.logged, [
    `claimed by ${app.actor}: /dev/test, a test disk, serial T1, of unknown size`,
    'warning: refused the claim of 127.0.0.1: this target belongs to another transfer: ' +
      'its source is a pipe, this one is a disk or a file',
    `the pipe has ended: 65.0 KiB (${claim.size} bytes), claimed by ${app.actor}`,
    `claimed again by ${app.actor}: /dev/test, a test disk, serial T1, of unknown size`,
  ]);
});

test('the description of a source loses control characters and is cut', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const source = {
    description: 'a\u001b[31mdisk\n',
    path: 'x'.repeat(5000),
    model: 7,
    serial: 'ä',
    byId: '/dev/disk/by-id/\u001bx',
    other: 1,
  };
  await app.request('PUT', '/transfer', { body: JSON.stringify({ ...claimOf(1), source }) });
  const { source: kept } = (await app.request('GET', '/transfer')).json();
  assert.deepEqual(kept, {
    description: 'a?[31mdisk?',
    path: 'x'.repeat(200),
    model: null,
    serial: 'ä',
    byId: '/dev/disk/by-id/?x',
  });
});

test('what a claim says of its source is shown without a character that misleads', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const nasty = 'ok\u202egpj\u2066\u200b\u2028\ufeff\ud800.exe';
  const names = { description: nasty, path: `/dev/${nasty}`, model: nasty, serial: `${'x'.repeat(199)}💾` };
  const body = JSON.stringify({ size: 10, blockSize: 65_536, source: names });
  const claimed = await app.request('PUT', '/transfer', { body });
  assert.equal(claimed.status, 201);
  const shown = 'ok?gpj?????.exe';
  const { source } = claimed.json();
  const { description, path, model, serial } = source as Record<string, string>;
  assert.deepEqual(
    [description, path, model, serial],
    [shown, `/dev/${shown}`, shown, `${'x'.repeat(199)}?`],
  );
  assert.doesNotMatch(app.logged.join('\n'), /[\u2028\u202e\u2066\u200b\ufeff]/u);
});
