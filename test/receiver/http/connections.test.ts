import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../../common/clock.ts';
import { Connections, type StrangerLimits } from '../../../receiver/http/connections.ts';
import { startServer } from '../../../receiver/http/server.ts';
import { loadOrMakeIdentity } from '../../../receiver/identity/certificate.ts';
import { eventually } from '../../support/eventually.ts';
import { connectKeyUpdater, type KeyUpdater } from '../../support/key-updates.ts';
import { fastTempDir } from '../../support/open-transfer.ts';
import { connectRaw, rawExchange } from '../../support/raw-exchange.ts';

const GOOD = 'GET /good HTTP/1.1\r\nhost: x\r\n\r\n';
const BAD = 'GET /bad HTTP/1.1\r\nhost: x\r\n\r\n';
const MANY = { burst: 1000, perSecond: 1000 };

interface Scene extends AsyncDisposable {
  readonly port: number;
  readonly connections: Connections;
  /** `<address>: <reason>` of each connection that was closed or not taken. */
  readonly refused: string[];
  /** Paths of the requests that reached the app. */
  readonly asked: string[];
}

/** A server whose app takes `/good` for a good token, and waits with its answer to `/slow`. */
async function serve(limits: Partial<StrangerLimits>, connectionsMax = 100): Promise<Scene> {
  await using folder = await fastTempDir();
  const { certificatePem, keyPem } = await loadOrMakeIdentity(folder.path);
  const refused: string[] = [];
  const asked: string[] = [];
  const connections = new Connections({
    clock: systemClock,
    connectionsMax,
    onRefused: (address, reason) => refused.push(`${address}: ${reason}`),
    limits: { strange: MANY, strangeTotal: MANY, familiar: MANY, ...limits },
  });
  const ended = Promise.withResolvers<void>();
  const server = await startServer({
    fetch: async (_request, { incoming }) => {
      asked.push(incoming.url ?? '');
      if (incoming.url === '/slow') await ended.promise;
      if (incoming.url === '/good') {
        try {
          connections.recognize(incoming.socket, true);
        } catch (error) {
          return new Response(String(error), { status: 503, headers: { connection: 'close' } });
        }
      }
      return new Response('answered');
    },
    certificatePem,
    keyPem,
    host: '127.0.0.1',
    port: 0,
    connections,
  });
  const dispose = async (): Promise<void> => {
    ended.resolve();
    await server.close(0);
  };
  return { port: server.port, connections, refused, asked, [Symbol.asyncDispose]: dispose };
}

async function tcpFrom(localAddress: string, port: number): Promise<Socket> {
  const socket = connectTcp({ host: '127.0.0.1', port, localAddress });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function tlsFrom(localAddress: string, port: number): Promise<TLSSocket> {
  return await connectRaw(port, { socket: await tcpFrom(localAddress, port) });
}

async function closed(socket: Socket): Promise<void> {
  socket.resume();
  await eventually('it is closed', () => socket.closed || socket.readableEnded);
  socket.destroy();
}

test('the oldest stranger makes room, those with a token stay', async () => {
  await using at = await serve({ strangersMax: 3, strangersPerAddressMax: 2 });
  const friend = await tlsFrom('127.0.0.9', at.port);
  friend.write(GOOD);
  await eventually('it is known', () => at.connections.knownCount === 1);
  const [first, second] = [await tcpFrom('127.0.0.2', at.port), await tcpFrom('127.0.0.3', at.port)];
  await tcpFrom('127.0.0.4', at.port);
  await tcpFrom('127.0.0.5', at.port);
  await closed(first);
  await tcpFrom('127.0.0.6', at.port);
  await closed(second);
  const reason = '3 others have no token either';
  assert.deepEqual(at.refused, [`127.0.0.2: ${reason}`, `127.0.0.3: ${reason}`]);
  assert.deepEqual([friend.destroyed, at.connections.knownCount], [false, 1]);
  friend.destroy();
});

test('one address has a few strangers, one that has shown a good token as many as there may be', async () => {
  await using at = await serve({ strangersMax: 6, strangersPerAddressMax: 2 });
  const [oldest] = [await tcpFrom('127.0.0.2', at.port), await tcpFrom('127.0.0.2', at.port)];
  await tcpFrom('127.0.0.2', at.port);
  await closed(oldest);
  assert.deepEqual(at.refused, ['127.0.0.2: 2 newer connections of this address have no token']);
  const lane = await tlsFrom('127.0.0.9', at.port);
  lane.write(GOOD);
  await eventually('it is known', () => at.connections.knownCount === 1);
  lane.destroy();
  await eventually('it is gone', () => at.connections.knownCount === 0);
  // A sender comes back with all its lanes: they push out strange addresses, and not each other.
  const lanes = await Promise.all(Array.from({ length: 6 }, async () => await tcpFrom('127.0.0.9', at.port)));
  await eventually('all are taken', () => at.refused.length === 3);
  const reason = '127.0.0.2: 6 others have no token either';
  assert.deepEqual(at.refused.slice(1), [reason, reason]);
  assert.ok(lanes.every((socket) => !socket.destroyed));
  await tcpFrom('127.0.0.3', at.port).catch(() => undefined);
  await eventually('it is refused', () => at.refused.length === 4);
  assert.equal(at.refused.at(-1), '127.0.0.3: 6 others have no token either');
});

test('an address that opens connections too fast is cut before TLS begins, others are not', async () => {
  await using at = await serve({ strange: { burst: 3, perSecond: 0.001 } });
  const open = async (address: string): Promise<boolean> => {
    const socket = await tlsFrom(address, at.port).catch(() => undefined);
    socket?.destroy();
    return socket !== undefined;
  };
  const taken: boolean[] = [];
  for (let time = 0; time < 5; time++) taken.push(await open('127.0.0.2'));
  assert.deepEqual(taken, [true, true, true, false, false]);
  assert.deepEqual(new Set(at.refused), new Set(['127.0.0.2: too many connections in a short time']));
  assert.equal(await open('127.0.0.3'), true);
});

test('a stranger is destroyed in time: silent, without a handshake, in half a head', async () => {
  await using at = await serve({ strangerMs: 300 });
  const [tcp, tls, half] = await Promise.all([
    tcpFrom('127.0.0.2', at.port),
    rawExchange(at.port, ''),
    rawExchange(at.port, GOOD.slice(0, -2)),
  ]);
  await closed(tcp);
  assert.deepEqual([tls.isClosedByServer, half.isClosedByServer, half.statuses], [true, true, []]);
  assert.deepEqual(at.refused.map((line) => line.slice(9)).sort(), [
    ': no token within 0 s',
    ': no token within 0 s',
    ': no token within 0 s',
  ]);
});

test('a connection whose request was not understood gives its place back', async () => {
  await using at = await serve({});
  // It reads nothing, so that it never learns of the end.
  const socket = await connectRaw(at.port);
  socket.write(GOOD);
  await eventually('it is known', () => at.connections.knownCount === 1);
  socket.write('nonsense\r\n\r\n');
  await eventually('its place is free', () => at.connections.knownCount === 0);
  assert.equal(socket.readableEnded, false);
  socket.destroy();
});

async function flood(updater: KeyUpdater, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes && !updater.raw.destroyed; sent += 27_000) {
    if (updater.send(updater.next(1000))) await new Promise<void>((resolve) => setImmediate(resolve));
    else await once(updater.raw, 'drain').catch(() => {});
  }
}

test('TLS messages without data are counted: before the token a few, after it some', async () => {
  const limits = { strangerBytesMax: 64 * 1024, emptyBytesMax: 1024 * 1024 };
  await using at = await serve(limits);
  const place = { host: '127.0.0.1', port: at.port };
  // From elsewhere: its address has to wait afterwards.
  const stranger = await connectKeyUpdater({ ...place, localAddress: '127.0.0.2' });
  await flood(stranger, Infinity);
  assert.deepEqual(at.refused, ['127.0.0.2: no token in 64 KiB']);
  const holder = await connectKeyUpdater(place, GOOD);
  await eventually('it is known', () => at.connections.knownCount === 1);
  await flood(holder, 500_000);
  assert.equal(at.connections.knownCount, 1, 'half a megabyte is nothing');
  await flood(holder, Infinity);
  assert.deepEqual(at.refused.slice(1), ['127.0.0.1: 1 MiB of TLS messages without data']);
});

test('data in the smallest records is no flood', async () => {
  await using at = await serve({ emptyBytesMax: 4096 });
  const socket = await connectRaw(at.port);
  socket.setNoDelay(true);
  socket.write(GOOD);
  await eventually('it is known', () => at.connections.knownCount === 1);
  for (const character of GOOD.repeat(100)) {
    await new Promise<void>((resolve) => socket.write(character, () => resolve()));
  }
  await eventually('all requests', () => at.asked.length === 101);
  assert.deepEqual(at.refused, []);
  socket.destroy();
});

test('a stranger has one request, however many it sends at once', async () => {
  await using at = await serve({});
  const { isClosedByServer } = await rawExchange(at.port, BAD.repeat(500));
  assert.ok(isClosedByServer);
  assert.ok(at.asked.length <= 1, `${at.asked.length} requests`);
  assert.deepEqual(at.refused, ['127.0.0.1: a second request without a token']);
  const before = at.asked.length;
  await rawExchange(at.port, GOOD.repeat(3), { until: /(answered[^]*){3}/ });
  assert.equal(at.asked.length - before, 3, 'with a token, as many as it likes');
});

test('connections with a token have their own limit', async () => {
  await using at = await serve({}, 2);
  const friends = [await connectRaw(at.port), await connectRaw(at.port)];
  for (const friend of friends) friend.write(GOOD);
  await eventually('both are known', () => at.connections.knownCount === 2);
  const third = await rawExchange(at.port, GOOD);
  assert.deepEqual([third.statuses, third.isClosedByServer], [[503], true]);
  assert.match(third.text, /all 2 connections of the receiver are in use/);
  assert.deepEqual(at.refused, ['127.0.0.1: all 2 connections are in use']);
  friends[0]?.destroy();
  await eventually('a place is free', () => at.connections.knownCount === 1);
  assert.deepEqual((await rawExchange(at.port, GOOD, { until: /answered/ })).statuses, [200]);
  friends[1]?.destroy();
});

test('closing does not wait for strangers', async () => {
  const at = await serve({});
  const sockets = [await tcpFrom('127.0.0.2', at.port), await connectRaw(at.port), await connectRaw(at.port)];
  sockets[2]?.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\n');
  await eventually('a request', () => at.asked.length === 1);
  await at[Symbol.asyncDispose]();
  for (const socket of sockets) await closed(socket);
});
