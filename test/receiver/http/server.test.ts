import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { test } from 'node:test';
import { systemClock } from '../../../common/clock.ts';
import { OWN_CIPHERS } from '../../../common/trust/ciphers.ts';
import { loadOrMakeIdentity } from '../../../receiver/identity/certificate.ts';
import { Connections } from '../../../receiver/http/connections.ts';
import { startServer, type RunningServer, type ServerLimits } from '../../../receiver/http/server.ts';
import { coded } from '../../support/coded.ts';
import { eventually } from '../../support/eventually.ts';
import { fastTempDir } from '../../support/open-transfer.ts';
import { connectRaw, rawExchange } from '../../support/raw-exchange.ts';

const LIMITS: ServerLimits = {
  handshakeTimeoutMs: 5000,
  headersTimeoutMs: 5000,
  keepAliveTimeoutMs: 5000,
  responseTimeoutMs: 5000,
  headerBytesMax: 8192,
};
const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';

interface TestServer extends AsyncDisposable {
  readonly server: RunningServer;
  readonly port: number;
  /** Requests that reached the app. */
  readonly requests: IncomingMessage[];
}

interface TestServerOptions {
  readonly limits?: Partial<ServerLimits>;
  /** Responses wait for it. */
  readonly answer?: Promise<void>;
}

/** As many as a test opens. */
function anyConnections(): Connections {
  const many = { burst: 1000, perSecond: 1000 };
  return new Connections({
    clock: systemClock,
    connectionsMax: 100,
    onRefused: () => {},
    limits: { strange: many, strangeTotal: many, familiar: many, strangersPerAddressMax: 64 },
  });
}

async function serve(options: TestServerOptions = {}): Promise<TestServer> {
  await using folder = await fastTempDir();
  const { certificatePem, keyPem } = await loadOrMakeIdentity(folder.path);
  const requests: IncomingMessage[] = [];
  const connections = anyConnections();
  const server = await startServer({
    fetch: async (_request, { incoming }) => {
      connections.recognize(incoming.socket, true);
      requests.push(incoming);
      await options.answer;
      return new Response('answered');
    },
    certificatePem,
    keyPem,
    host: '127.0.0.1',
    port: 0,
    connections,
    limits: { ...LIMITS, ...options.limits },
  });
  return {
    server,
    port: server.port,
    requests,
    [Symbol.asyncDispose]: async () => await server.close(0),
  };
}

/** Rejects when the handshake fails. */
async function handshake(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

/** By the server. */
async function assertClosed(socket: Socket): Promise<void> {
  socket.on('error', () => {}).resume();
  await eventually('the connection is closed', () => socket.closed || socket.readableEnded);
  socket.destroy();
}

test('ChaCha20 is chosen if the client prefers it, else the cipher that is fastest here', async () => {
  await using at = await serve();
  const [quickest] = OWN_CIPHERS.split(':');
  const chacha = 'TLS_CHACHA20_POLY1305_SHA256';
  const aes = 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256';
  for (const [ciphers, expected] of [
    [`${chacha}:${aes}`, chacha],
    [`${aes}:${chacha}`, quickest],
  ] as const) {
    const socket = await handshake(at.port, { ciphers });
    assert.equal(socket.getCipher().standardName, expected);
    socket.destroy();
  }
});

test('TLS 1.3 is accepted, older versions are not', async () => {
  await using at = await serve();
  const socket = await handshake(at.port, {});
  assert.equal(socket.getProtocol(), 'TLSv1.3');
  socket.destroy();
  await assert.rejects(handshake(at.port, { maxVersion: 'TLSv1.2' }), /protocol version/i);
});

test('HTTP/1.1 is negotiated, and a client with HTTP/2 alone is refused', async () => {
  await using at = await serve();
  const socket = await handshake(at.port, { ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'http/1.1');
  socket.destroy();
  await assert.rejects(handshake(at.port, { ALPNProtocols: ['h2'] }), /no application protocol/i);
  const preface = await rawExchange(at.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.deepEqual([preface.statuses, at.requests.length], [[400], 0]);
});

test('a connection without a handshake is closed', async () => {
  await using at = await serve({ limits: { handshakeTimeoutMs: 100 } });
  const socket = connectTcp(at.port, '127.0.0.1');
  await assertClosed(socket);
});

test('a connection with no request, or half of one, is closed', async () => {
  await using at = await serve({ limits: { headersTimeoutMs: 100 } });
  const [silent, half] = await Promise.all([
    rawExchange(at.port, ''),
    rawExchange(at.port, GET.slice(0, -2)),
  ]);
  assert.deepEqual([silent.isClosedByServer, half.isClosedByServer, half.statuses], [true, true, [408]]);
  assert.equal(at.requests.length, 0);
});

test('an idle connection is closed', async () => {
  // Node adds a second.
  await using at = await serve({ limits: { keepAliveTimeoutMs: 50 } });
  const { statuses, isClosedByServer } = await rawExchange(at.port, GET);
  assert.deepEqual([statuses, isClosedByServer], [[200], true]);
});

test('a head that a long token needs is accepted, one over the limit is 431', async () => {
  await using at = await serve();
  const withHeader = (length: number): string => GET.replace('host:', `x: ${'x'.repeat(length)}\r\nhost:`);
  assert.deepEqual((await rawExchange(at.port, withHeader(7000), { until: /answered/ })).statuses, [200]);
  const { statuses, isClosedByServer } = await rawExchange(at.port, withHeader(8200));
  assert.deepEqual([statuses, isClosedByServer, at.requests.length], [[431], true, 1]);
});

test('ambiguous or broken HTTP gets 400, is closed and never reaches the app', async () => {
  await using at = await serve();
  const put = 'PUT / HTTP/1.1\r\nhost: x\r\n';
  const broken = [
    `${put}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${put}content-length: 3\r\ncontent-length: 4\r\n\r\nabc`,
    `${put}content-length: +3\r\n\r\nabc`,
    `${put}content-length: 99999999999999999999\r\n\r\n`,
    `${put}transfer-encoding: chunked, gzip\r\n\r\n`,
    `${put}x: a\r\n b\r\n\r\n`,
    `${put}x: a\nb: c\r\n\r\n`,
    `${put}x : a\r\n\r\n`,
    'PUT /\r\n\r\n',
    'PUT / HTTP/9.1\r\nhost: x\r\n\r\n',
    '\u0016\u0003\u0001',
    'FETCH / HTTP/1.1\r\nhost: x\r\n\r\n',
  ];
  for (const text of broken) {
    const { statuses, isClosedByServer } = await rawExchange(at.port, text);
    assert.deepEqual([statuses, isClosedByServer], [[400], true], JSON.stringify(text));
  }
  assert.equal(at.requests.length, 0);
});

test('a Host or path that makes no valid URL is 400, and the body is not read', async () => {
  await using at = await serve();
  const heads = ['PUT / HTTP/1.1\r\nhost: a/b', 'PUT / HTTP/1.1\r\nhost:', 'PUT /a\\b HTTP/1.1\r\nhost: x'];
  for (const head of [...heads, 'PUT / HTTP/1.1', 'PUT / HTTP/1.1\r\nhost: x\r\nexpect: tea']) {
    const bodyBytes = 64 * 1024 * 1024;
    const pieces = [`${head}\r\ncontent-length: ${bodyBytes}\r\n\r\n`];
    const body = Array.from({ length: 1024 }, () => Buffer.alloc(65_536));
    const { statuses, sentBytes, isClosedByServer } = await rawExchange(at.port, [...pieces, ...body]);
    assert.deepEqual([statuses, isClosedByServer], [[head.endsWith('tea') ? 417 : 400], true], head);
    assert.ok(sentBytes < 8 * 1024 * 1024, `${sentBytes} bytes were taken`);
  }
  assert.equal(at.requests.length, 0);
});

test('a request of an older HTTP that makes no valid URL is told that nothing follows', async () => {
  await using at = await serve();
  for (const line of ['GET /', 'GET / HTTP/1.0']) {
    const { text } = await rawExchange(at.port, `${line}\r\nhost: x y: z\r\n\r\n`);
    assert.match(text, /^HTTP\/1\.1 400 [^]*\r\ncontent-length: 0\r\n/, line);
  }
});

test('closing lets requests finish, closes idle connections and accepts no new ones', async () => {
  const { promise: answer, resolve } = Promise.withResolvers<void>();
  await using at = await serve({ answer });
  const idle = await connectRaw(at.port);
  const busy = rawExchange(at.port, GET);
  await eventually('a request', () => at.requests.length > 0);
  const closing = at.server.close(60_000);
  await assert.rejects(connectRaw(at.port), { code: 'ECONNREFUSED' });
  resolve();
  const { statuses, text } = await busy;
  assert.deepEqual([statuses, text.endsWith('answered')], [[200], true]);
  await assertClosed(idle);
  await closing;
});

test('closing cuts requests that take longer than the grace', async () => {
  const { promise: answer, resolve } = Promise.withResolvers<void>();
  await using at = await serve({ answer });
  const busy = rawExchange(at.port, GET);
  await eventually('a request', () => at.requests.length > 0);
  await at.server.close(50);
  assert.deepEqual((await busy).statuses, []);
  resolve();
});

test('a port that is in use is refused with the reason', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  await using folder = await fastTempDir();
  const { certificatePem, keyPem } = await loadOrMakeIdentity(folder.path);
  const options = { fetch: async () => await Promise.resolve(new Response()), certificatePem, keyPem };
  const message = new RegExp(`^cannot listen on 127\\.0\\.0\\.1:${port}: the address is already in use$`);
  await assert.rejects(
    startServer({ ...options, host: '127.0.0.1', port, connections: anyConnections() }),
    coded('listen-failed', { message }),
  );
  other.close();
});
