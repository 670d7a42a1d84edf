import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import {
  startWatchServer,
  WATCH_LIMITS,
  type WatchLimits,
  type WatchServer,
} from '../../../common/watch/watch-server.ts';
import { eventually } from '../../support/eventually.ts';

const CHUNK_BYTES = 64 * 1024;

interface Scene extends AsyncDisposable {
  readonly server: WatchServer;
  readonly port: number;
  /** Chunks made for `/stream`, and whether its end was noticed. */
  readonly stream: { made: number; isEnded: boolean };
}

async function serve(limits: Partial<WatchLimits> = {}): Promise<Scene> {
  const stream = { made: 0, isEnded: false };
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        stream.made++;
        yield new Uint8Array(CHUNK_BYTES);
      }
    } finally {
      stream.isEnded = true;
    }
  };
  const routes = [
    { path: '/', isPublic: true, answer: () => ({ type: 'text/html; charset=utf-8', body: '<p>page' }) },
    { path: '/secret', answer: () => ({ type: 'text/plain', body: 'how far it is' }) },
    {
      path: '/block/:index',
      answer: ({ index = '' }: Readonly<Record<string, string>>) =>
        index === '7' ? { type: 'text/plain', body: index } : undefined,
    },
    { path: '/stream', answer: () => ({ type: 'application/octet-stream', body: chunks() }) },
  ];
  const server = await startWatchServer({ host: '127.0.0.1', port: 0 }, routes, {
    ...WATCH_LIMITS,
    ...limits,
  });
  const port = Number(new URL(server.origin).port);
  return { server, port, stream, [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose]() };
}

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly key?: string | undefined;
}

async function ask(
  { port, server }: Scene,
  { method = 'GET', path = '/secret', headers = {}, key = server.key }: Asked = {},
): Promise<{ status: number; text: string; headers: IncomingMessage['headers'] }> {
  const authorization: Record<string, string> = key === '' ? {} : { authorization: `Bearer ${key}` };
  const asked = request({
    host: '127.0.0.1',
    port,
    method,
    path,
    headers: { ...authorization, ...headers },
    agent: false,
  });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
  return { status: response.statusCode ?? 0, text, headers: response.headers };
}

test('the page is public, all else needs the key, and nothing takes anything but GET and HEAD', async () => {
  await using scene = await serve();
  assert.match(scene.server.url, /^http:\/\/127\.0\.0\.1:\d+\/#[\w-]{32}$/);
  assert.equal((await ask(scene, { path: '/', key: '' })).text, '<p>page');
  assert.equal((await ask(scene)).text, 'how far it is');
  assert.equal((await ask(scene, { path: '/block/7' })).text, '7');
  const head = await ask(scene, { method: 'HEAD' });
  assert.deepEqual([head.status, head.text], [200, '']);
  assert.equal((await ask(scene, { method: 'HEAD', path: '/stream' })).status, 200);
  for (const key of ['', 'x', `${scene.server.key}x`, scene.server.key.slice(1)]) {
    const { status, text, headers } = await ask(scene, { key });
    assert.deepEqual([status, text, headers['www-authenticate']], [401, '', 'Bearer']);
  }
  for (const path of ['/block/8', '/other', '/secret/', '//']) {
    assert.equal((await ask(scene, { path })).status, 404, path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const { status, headers } = await ask(scene, { method });
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
  }
});

test('other hosts and origins are refused, addresses with another port are not', async () => {
  await using scene = await serve();
  const own = `127.0.0.1:${scene.port}`;
  for (const [headers, expected] of [
    [{ host: own }, 200],
    [{ host: own, origin: `http://${own}` }, 200],
    [{ host: 'localhost:9999' }, 200],
    [{ host: '[::1]:9999', origin: 'http://[::1]:9999' }, 200],
    [{ host: '192.0.2.7' }, 200],
    [{ host: `attacker.example:${scene.port}` }, 421],
    [{ host: '127.0.0.1.attacker.example' }, 421],
    [{ host: 'a@127.0.0.1' }, 400],
    [{ host: own, origin: 'http://attacker.example' }, 403],
    [{ host: own, origin: `https://${own}` }, 403],
    [{ host: own, origin: 'null' }, 403],
    [{ host: 'localhost:9999', origin: `http://${own}` }, 403],
  ] as const) {
    const { status, text } = await ask(scene, { headers });
    assert.equal(status, expected, JSON.stringify(headers));
    if (expected !== 200) assert.equal(text, '');
  }
});

test('every answer forbids what a page must not do', async () => {
  await using scene = await serve();
  for (const asked of [
    { path: '/' },
    { path: '/secret' },
    { path: '/other' },
    { key: '' },
    { method: 'PUT' },
  ]) {
    const { headers } = await ask(scene, asked);
    const policy = String(headers['content-security-policy']);
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
    assert.equal(headers['access-control-allow-origin'], undefined);
  }
});

test('a client that does not read is cut, and nothing more is made for it', async () => {
  await using scene = await serve({ stallTimeoutMs: 500 });
  const socket = connect(scene.port, '127.0.0.1');
  const closed = once(socket, 'close');
  socket.on('error', () => {});
  socket.write(
    `GET /stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${scene.server.key}\r\n\r\n`,
  );
  socket.pause();
  await eventually('its end is noticed', () => scene.stream.isEnded);
  // What the kernel holds of it: some megabytes.
  assert(scene.stream.made * CHUNK_BYTES < 64 * 1024 * 1024, `${scene.stream.made} chunks`);
  socket.resume();
  await closed;
});

test('a client that sends no whole request, or a body without end, is cut', async () => {
  await using scene = await serve({ stallTimeoutMs: 300 });
  for (const text of [
    '',
    'GET / HT',
    'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\nx',
  ]) {
    const socket = connect(scene.port, '127.0.0.1');
    socket.on('error', () => {}).resume();
    socket.write(text);
    await once(socket, 'close');
  }
});

test('there are only so many connections and streams, and they end with the server', async () => {
  const scene = await serve({ connectionsMax: 4, streamsMax: 2 });
  const streams: IncomingMessage[] = [];
  const headers = { host: 'localhost', authorization: `Bearer ${scene.server.key}` };
  for (let at = 0; at < 2; at++) {
    const asked = request({ host: '127.0.0.1', port: scene.port, path: '/stream', headers, agent: false });
    asked.end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    streams.push(response.on('error', () => {}));
  }
  assert.equal((await ask(scene, { path: '/stream' })).status, 503);
  assert.equal((await ask(scene)).status, 200, 'figures are still to be seen');
  const idle = [0, 1].map(() => connect(scene.port, '127.0.0.1'));
  await Promise.all(idle.map(async (socket) => await once(socket, 'connect')));
  const fifth = connect(scene.port, '127.0.0.1').on('error', () => {});
  await once(fifth.resume(), 'close');
  await scene[Symbol.asyncDispose]();
  // What the kernel holds of them is read first.
  for (const stream of streams) stream.resume();
  await eventually('they are cut', () => streams.every((stream) => stream.closed));
});

test('a port that is taken is named', async () => {
  await using scene = await serve();
  await assert.rejects(startWatchServer({ host: '127.0.0.1', port: scene.port }, []), {
    code: 'listen-failed',
    message: `cannot serve the page on 127.0.0.1:${scene.port}: the address is already in use`,
  });
});
