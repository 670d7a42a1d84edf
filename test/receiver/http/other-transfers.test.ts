/** Several transfers in one process: whose routes a token gets to, and what one that failed answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../common/clock.ts';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { mintToken, type TokenPayload } from '../../../common/trust/token.ts';
import { Authenticator, SignatureChecks } from '../../../receiver/http/auth.ts';
import type { makeApp } from '../../../receiver/http/app.ts';
import { serveAll } from '../../../receiver/http/serve-all.ts';
import { coded } from '../../support/coded.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

const PIN = 'sha256//0s50zqcJYFAJvxw1R2yzjg7BvQEV0HNRkxJpBlJpNuM=';
const RESOURCES: readonly (readonly [string, string])[] = [
  ['GET', '/transfer'],
  ['PUT', '/transfer'],
  ['GET', '/blocks'],
  ['GET', '/blocks/0'],
  ['HEAD', '/blocks/0'],
  ['PUT', '/blocks/0'],
  ['POST', '/zero'],
  ['POST', '/copy'],
  ['POST', '/flush'],
  ['POST', '/verify'],
  ['POST', '/prove'],
  ['POST', '/probe'],
  ['POST', '/probe/target'],
  ['POST', '/complete'],
  ['POST', '/reopen'],
  ['GET', '/receipt'],
];

function payloadOf(tid: string, exp = 2000): TokenPayload {
  return { v: 1, aud: PIN, tid, scope: ['write'], iat: 1000, exp };
}

/** An app that only says which one it is. */
function namedApp(name: string): ReturnType<typeof makeApp> {
  return { fetch: async () => await Promise.resolve(new Response(name)) } as unknown as ReturnType<
    typeof makeApp
  >;
}

/** @param authorization of the request. */
async function answeredBy(apps: readonly string[], authorization: string | undefined): Promise<string> {
  const fetch = serveAll(new Map(apps.map((name) => [name, namedApp(name)])));
  const env = { incoming: { headers: { authorization } }, outgoing: {} } as never;
  return await (await fetch(new Request('https://x/'), env)).text();
}

test('the token says which transfer answers; who names none of them gets to the first', async () => {
  const key = makeSigningKey();
  const bearer = (tid: string): string => `Bearer ${mintToken(payloadOf(tid), key)}`;
  const apps = ['one', 'two', 'three'];
  for (const name of apps) assert.equal(await answeredBy(apps, bearer(name)), name);
  for (const other of [undefined, '', 'Bearer x', bearer('four'), 'Basic two', `${bearer('two')}, x`]) {
    assert.equal(await answeredBy(apps, other), 'one');
  }
  assert.equal(await answeredBy(['one'], bearer('two')), 'one');
});

test('wherever a token of another transfer gets to, it is refused, and nothing is done', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  const token = app.mint({ tid: 'another-transfer' });
  const before = app.transfer.status();
  for (const [method, path] of RESOURCES) {
    const answer = await app.request(method, path, { token, ...(method === 'PUT' ? { body: 'body' } : {}) });
    assert.equal(answer.status, 401, `${method} ${path}`);
    assert.equal(answer.body.length > 0 && answer.body.toString().includes(app.transfer.id), false);
  }
  assert.deepEqual(app.transfer.status(), before);
});

test('new signatures are counted for all transfers together', () => {
  const key = makeSigningKey(Buffer.alloc(32, 1));
  const signatureChecks = new SignatureChecks({ ...systemClock, monotonicMs: () => 5000 });
  const clock = { ...systemClock, wallMs: () => 1_500_000 };
  const [one, two] = ['one', 'two'].map((transferId) => {
    const own = { audience: PIN, transferId, trustedKeys: [key.publicKey], clock };
    return new Authenticator({ ...own, signatureChecks });
  });
  for (let at = 0; at < 5; at++) {
    one?.check(`Bearer ${mintToken(payloadOf('one', 2000 + at), key)}`, 'write');
    two?.check(`Bearer ${mintToken(payloadOf('two', 2000 + at), key)}`, 'write');
  }
  const more = `Bearer ${mintToken(payloadOf('two', 3000), key)}`;
  assert.throws(() => two?.check(more, 'write'), coded('busy'));
  one?.check(`Bearer ${mintToken(payloadOf('one', 2000), key)}`, 'write');
});

const BROKEN = new TransferError('journal-error', 'cannot write the journal /j: disk I/O error');

async function put(app: ReceiverApp, index: number): Promise<[number, string | undefined]> {
  const body = contentOf(app.transfer.claimed(), index, 1);
  const digest = digestNow(body).toString('hex');
  const { status, code } = await app.request('PUT', `/blocks/${index}?digest=sha256:${digest}&flush=n`, {
    body,
  });
  return [status, code];
}

test('a transfer whose journal failed answers that to everything, and reads no body', async () => {
  await using app = await startReceiverApp();
  assert.deepEqual(await put(app, 0), [202, undefined]);
  app.failure = BROKEN;
  for (const [method, path] of RESOURCES) {
    const { status, code } = await app.request(method, path);
    assert.deepEqual(
      [status, code],
      [500, method === 'HEAD' ? undefined : 'journal-error'],
      `${method} ${path}`,
    );
  }
  assert.equal((await app.request('GET', '/transfer', { token: null })).status, 401);
  assert.equal((await app.request('GET', '/health', { token: null })).status, 200);
});

test('what was being done when the journal failed is not acknowledged', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target });
  using gate = target.hold('write');
  const putting = put(app, 1);
  await gate.arrived();
  app.failure = BROKEN;
  gate.open();
  assert.deepEqual(await putting, [500, 'journal-error']);
});
