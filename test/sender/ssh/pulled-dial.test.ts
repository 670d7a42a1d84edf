/** Connections that come to a sender, against a real receiver. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { join } from 'node:path';
import { parseTicket } from '../../../common/trust/ticket.ts';
import { makeConnector } from '../../../sender/client/connection/connector.ts';
import { UnackedBytes } from '../../../sender/client/connection/unacked-bytes.ts';
import { PulledDial, type PulledDialParts } from '../../../sender/ssh/pulled-dial.ts';
import { startReceiver, type Receiver } from '../../support/processes.ts';
import { tempDir } from '../../support/temp-dir.ts';

async function startOn(folder: string): Promise<Receiver> {
  return await startReceiver({ folder, target: join(folder, 'target') });
}

async function open(
  receiver: Receiver,
  places: PulledDialParts['places'],
): Promise<{ dial: PulledDial; port: number | undefined; said: string[] }> {
  const found: { port?: number } = {};
  const said: string[] = [];
  const dial = await PulledDial.open({
    ticket: parseTicket(receiver.ticket),
    places,
    connections: 'auto',
    unacked: new UnackedBytes(),
    signal: new AbortController().signal,
    say: (fact) => said.push(fact),
    announce: (port) => (found.port = port),
  });
  return { dial, port: found.port, said };
}

/** As a lane of the sender does. */
async function connectBy(dial: PulledDial): Promise<Socket> {
  const connector = makeConnector(dial.ticket.pin, () => {}, dial.dial);
  return await new Promise((resolve, reject) => {
    connector({ hostname: 'far', protocol: 'https:', port: '443' }, (error, socket) => {
      if (error === null) resolve(socket);
      else reject(error);
    });
  });
}

async function connectTo(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

test('the first of the places that has the receiver is used', async () => {
  await using folder = await tempDir();
  await using receiver = await startOn(folder.path);
  const { host, port } = receiver;
  const {
    dial,
    port: announced,
    said,
  } = await open(receiver, [
    { host, port: 1 },
    { host, port },
  ]);
  using _dial = dial;
  assert.deepEqual(said, [`line     straight to ${host}:${port}`]);
  assert.deepEqual([announced, dial.connectionsMax], [undefined, undefined]);
  (await connectBy(dial)).destroy();
});

test('where none is reached, connections that come are used', async () => {
  await using folder = await tempDir();
  await using receiver = await startOn(folder.path);
  const { dial, port } = await open(receiver, [{ host: receiver.host, port: 1 }]);
  using _dial = dial;
  assert(port !== undefined && dial.connectionsMax === 8);
  const connecting = connectBy(dial);
  const [line, near] = [await connectTo(port), connect({ host: receiver.host, port: receiver.port })];
  void pipeline(line, near, line).catch(() => {});
  (await connecting).destroy();
  line.destroy();
});

test('a stranger who connects costs an attempt, and nothing else', async () => {
  await using folder = await tempDir();
  await using receiver = await startOn(folder.path);
  const { dial, port } = await open(receiver, []);
  using _dial = dial;
  assert(port !== undefined);
  const stranger = await connectTo(port);
  const connecting = connectBy(dial);
  stranger.end('HTTP/1.1 200 OK\r\n\r\n');
  await assert.rejects(connecting, { code: 'connection-failed', kind: 'transient' });
  const again = connectBy(dial);
  const [line, near] = [await connectTo(port), connect({ host: receiver.host, port: receiver.port })];
  void pipeline(line, near, line).catch(() => {});
  (await again).destroy();
  line.destroy();
});

test('one that has gone while it waited is not used', async () => {
  await using folder = await tempDir();
  await using receiver = await startOn(folder.path);
  const { dial, port } = await open(receiver, []);
  using _dial = dial;
  assert(port !== undefined);
  const gone = await connectTo(port);
  gone.destroy();
  await once(gone, 'close');
  const [line, near] = [await connectTo(port), connect({ host: receiver.host, port: receiver.port })];
  void pipeline(line, near, line).catch(() => {});
  (await connectBy(dial)).destroy();
  line.destroy();
});
