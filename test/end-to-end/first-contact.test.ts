/** What happens when nobody, or somebody else, answers at the address in the ticket. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { loadOrMakeIdentity } from '../../receiver/identity/certificate.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  OWN_HOST,
  bounded,
  runSender,
  startReceiver,
  startSender,
  until,
} from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

async function listen(server: Server, port = 0): Promise<AsyncDisposable & { port: number }> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket.on('error', () => {}));
  });
  server.listen(port, OWN_HOST);
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A ticket of a receiver that has been stopped, with another port. */
async function ticketsIn(folder: string): Promise<(port: number) => string> {
  await using receiver = await startReceiver({ folder, target: join(folder, 'target') });
  const { ticket } = receiver;
  await receiver.end('SIGTERM');
  return (port) => ticket.replace(`:${receiver.port}/`, `:${port}/`);
}

async function sourceIn(folder: string, sizeBytes = MIB): Promise<string> {
  const source = join(folder, 'source');
  await writeFile(source, prng(freshSeed()).bytes(sizeBytes));
  return source;
}

/** A service that speaks first, as SSH and SMTP do. */
function greeting(text: string): Server {
  return createServer((socket) => void socket.write(text));
}

test('at first contact a closed port is given up when the time is over, with what to check', async () => {
  await using folder = await tempDir();
  const ticketFor = await ticketsIn(folder.path);
  const { port, ...server } = await listen(createServer());
  await server[Symbol.asyncDispose]();
  const options = ['--retry-for', '2s', await sourceIn(folder.path), ticketFor(port)];
  const { status, stderr } = await runSender(options);
  assert.equal(status, 6, stderr);
  const address = `${OWN_HOST}:${port}`;
  const message = `gave up after 2 s: cannot reach the receiver at ${address}: connection refused`;
  const hint = `is TCP ${port} open in the firewall, and is ddt-receive running?`;
  assert(stderr.endsWith(`ddt-send: error: ${message}\nddt-send: hint: ${hint}\n`), stderr);
});

test('at first contact another service at the port ends the run at once', async () => {
  await using folder = await tempDir();
  const ticketFor = await ticketsIn(folder.path);
  const source = await sourceIn(folder.path);
  const { keyPem: key, certificatePem: cert } = await loadOrMakeIdentity(folder.path, {});
  for (const [name, server, protocol] of [
    ['HTTP', createHttpServer((_request, response) => response.end('hello')) as Server, 'TLS'],
    ['SSH', greeting('SSH-2.0-OpenSSH_9.9\r\n'), 'TLS'],
    ['SMTP', greeting('220 mail.example.org ESMTP\r\n'), 'TLS'],
    ['TLS 1.2', createTlsServer({ key, cert, maxVersion: 'TLSv1.2' }), 'TLS 1.3'],
  ] as const) {
    await using listening = await listen(server);
    const { port } = listening;
    const { status, stderr } = await runSender([source, ticketFor(port)]);
    assert.equal(status, 4, `${name}: ${stderr}`);
    const message = `${OWN_HOST}:${port} does not speak ${protocol}: it is not a ddt-receive`;
    assert(stderr.includes(`ddt-send: error: ${message}\nddt-send: hint: check the host and port`), stderr);
  }
});

test('another service that takes the port of a receiver later is waited out', async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder.path, 4 * MIB);
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const slow = ['--bwlimit', '1M', '--block-size', '64KiB'];
  await using sender = await startSender(['--ticket-file', receiver.ticketFile, ...slow, source]);
  await until('the transfer to begin', async () => (await receiver.durableCount()) > 0);
  await receiver.end('SIGKILL');
  {
    const other = greeting('SSH-2.0-OpenSSH_9.9\r\n');
    await using _listening = await listen(other, receiver.port);
    await bounded('the sender to try', once(other, 'connection'));
  }
  await receiver.start();
  const ended = await bounded('the sender to end', sender.ended);
  assert.equal(ended.status, 0, ended.stderr);
  assert.deepEqual(await readFile(join(folder.path, 'target')), await readFile(source));
});
