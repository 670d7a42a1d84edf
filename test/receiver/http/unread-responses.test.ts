/** Answers that nobody reads: they hold no more memory than there is for blocks, and not for ever. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { loadOrMakeIdentity } from '../../../receiver/identity/certificate.ts';
import { chunkedResponse } from '../../../receiver/http/chunked-response.ts';
import { systemClock } from '../../../common/clock.ts';
import { Connections } from '../../../receiver/http/connections.ts';
import { SERVER_LIMITS, startServer } from '../../../receiver/http/server.ts';
import { eventually } from '../../support/eventually.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { fastTempDir } from '../../support/open-transfer.ts';
import { MIB } from '../../support/processes.ts';
import { connectRaw, rawExchange } from '../../support/raw-exchange.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';

const BLOCK_BYTES = 16 * MIB;
const BLOCKS = 8;
const CLAIM = { size: BLOCKS * BLOCK_BYTES, blockSize: BLOCK_BYTES, source: { description: 'x' } };

function headOf(path: string, token: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`;
}

test('blocks that nobody reads leave half of the memory to those that write', async () => {
  await using app = await startReceiverApp({ blockCount: null, memoryWaitMs: 100, memoryBytes: 80 * MIB });
  await app.request('PUT', '/transfer', { body: JSON.stringify(CLAIM) });
  const { slabs, table, zeroDigests } = app.transfer.claimed();
  table.set(0, 'durable', zeroDigests.of(0));
  await using sockets = new AsyncDisposableStack();
  for (let connection = 0; connection < 4; connection++) {
    const socket = await connectRaw(app.port);
    sockets.defer(() => void socket.destroy());
    socket.pause();
    socket.write(headOf('/blocks/0', app.token));
  }
  await eventually(
    'no more can be read',
    async () => (await app.request('GET', '/blocks/0')).code === 'busy',
  );
  assert.deepEqual([slabs.slabCount, slabs.freeCount], [4, 2]);
});

test('a block that is not read in time is given up: the connection ends, its memory is free', async () => {
  await using app = await startReceiverApp({ blockCount: null, responseProgressTimeoutMs: 200 });
  assert.equal((await app.request('PUT', '/transfer', { body: JSON.stringify(CLAIM) })).status, 201);
  const { slabs, table, zeroDigests } = app.transfer.claimed();
  table.set(0, 'durable', zeroDigests.of(0));
  const socket = await connectRaw(app.port);
  socket.pause();
  socket.write(headOf('/blocks/0', app.token));
  await eventually('memory is taken', () => slabs.freeCount < slabs.slabCount);
  await eventually('memory is free', () => slabs.freeCount === slabs.slabCount);
  await assertEnds(socket);
});

async function assertEnds(socket: TLSSocket): Promise<void> {
  socket.resume();
  await eventually('the connection has ended', () => socket.closed || socket.readableEnded);
  socket.destroy();
}

test('the memory of a block is free again when it was read, or the client has gone', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  await app.request('PUT', '/transfer', { body: JSON.stringify(CLAIM) });
  const { slabs, table, zeroDigests } = app.transfer.claimed();
  table.set(0, 'durable', zeroDigests.of(0));
  const answer = await app.request('GET', '/blocks/0');
  assert.deepEqual([answer.status, answer.headers['content-length']], [200, String(BLOCK_BYTES)]);
  assert.ok(answer.body.equals(Buffer.alloc(BLOCK_BYTES)));
  await eventually('memory is free', () => slabs.freeCount === slabs.slabCount);
  const socket = await connectRaw(app.port);
  socket.pause();
  socket.write(headOf('/blocks/0', app.token));
  await eventually('memory is taken', () => slabs.freeCount < slabs.slabCount);
  socket.destroy();
  await eventually('memory is free', () => slabs.freeCount === slabs.slabCount);
});

test('requests of one connection are answered one at a time, in order; too many of them end it', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, blockCount: 4 });
  const three = ['/transfer', '/nothing', '/receipt'].map((path) => headOf(path, app.token)).join('');
  const until = /no receipt yet/;
  assert.deepEqual((await rawExchange(app.port, three, { until })).statuses, [200, 404, 404]);
  using gate = target.hold('flush');
  const socket = await connectRaw(app.port);
  const body = JSON.stringify({ blockCount: 4, root: `sha256:${'0'.repeat(64)}` });
  const complete = headOf('/complete', app.token).replace('GET', 'POST').slice(0, -2);
  socket.write(`${complete}content-length: ${body.length}\r\n\r\n${body}`);
  await gate.arrived();
  for (let at = 0; at < 50; at++) socket.write(headOf('/transfer', app.token));
  await assertEnds(socket);
});

test('of an answer in chunks no more is made than the connection takes', async () => {
  await using folder = await fastTempDir();
  const { certificatePem, keyPem } = await loadOrMakeIdentity(folder.path);
  let made = 0;
  function* chunks(): Iterable<Uint8Array> {
    for (; made < 1000; made++) yield Buffer.alloc(MIB);
  }
  const ended = Promise.withResolvers<void>();
  const server = await startServer({
    fetch: async (_request, { outgoing }) =>
      await Promise.resolve(
        chunkedResponse(chunks(), { outgoing, headers: {}, timeoutMs: 300, onEnd: ended.resolve }),
      ),
    certificatePem,
    keyPem,
    host: '127.0.0.1',
    port: 0,
    connections: new Connections({ clock: systemClock, connectionsMax: 10, onRefused: () => {} }),
    limits: SERVER_LIMITS,
  });
  await using _server = { [Symbol.asyncDispose]: async () => await server.close(0) };
  const socket = await connectRaw(server.port);
  socket.pause();
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  await ended.promise;
  assert.ok(made < 100, `${made} chunks of a mebibyte`);
  socket.destroy();
});
