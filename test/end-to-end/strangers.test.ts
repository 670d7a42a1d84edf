/** What people without a ticket can do to a copy, from other addresses than the sender's. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  sendAll,
  startReceiver,
  startSender,
  type Receiver,
} from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Not the sender's: connections within the machine leave from 127.0.0.1 unless they say otherwise. */
const ELSEWHERE = '127.0.0.9';

interface Scene extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  readonly ticket: readonly string[];
}

async function makeScene(...options: readonly string[]): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(freshSeed()).bytes(8 * MIB));
  const receiver = stack.use(await startReceiver({ folder: folder.path, target, options }));
  const owned = stack.move();
  const ticket = ['--ticket-file', receiver.ticketFile];
  return { source, target, receiver, ticket, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

async function silentTcp({ host, port }: Receiver): Promise<Socket> {
  const socket = connectTcp({ host, port, localAddress: ELSEWHERE });
  await openOrClosed(socket, 'connect');
  return socket;
}

async function openOrClosed(socket: Socket, event: string): Promise<void> {
  socket.on('error', () => {});
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => socket.once(event, resolve).once('close', () => resolve()));
}

async function silentTls(receiver: Receiver): Promise<Socket> {
  const raw = await silentTcp(receiver);
  if (raw.destroyed) return raw;
  const socket = connectTls({ socket: raw, rejectUnauthorized: false });
  // It does not always notice by itself.
  raw.once('close', () => socket.destroy());
  await openOrClosed(socket, 'secureConnect');
  return socket;
}

test('silent connections take no place from a sender', async () => {
  await using scene = await makeScene('--max-connections', '4');
  const { receiver, source, target, ticket } = scene;
  const silent: Socket[] = [];
  for (let count = 0; count < 20; count++) silent.push(await silentTls(receiver), await silentTcp(receiver));
  await sendAll('--retry-for', '10s', '--connections', '4', ...ticket, source);
  await assertEqualFiles(source, target);
  assert.match(receiver.process.stderr, /warning: closed a connection from 127\.0\.0\.9: /);
  for (const socket of silent) socket.destroy();
});

test('a sender with 64 connections gets them, also from a receiver that was restarted', async () => {
  await using scene = await makeScene('--max-connections', '64');
  const { receiver, source, target, ticket } = scene;
  const many = ['--connections', '64', '--block-size', '64KiB', '--progress', 'json', ...ticket, source];
  await using sender = await startSender(['--bwlimit', '2M', ...many]);
  await receiver.process.waitForLine(/claimed by/);
  while ((await receiver.durableCount()) < 20) await delay(20);
  await receiver.end('SIGKILL');
  await receiver.start();
  const ended = await bounded('the sender to end', sender.ended, 60_000);
  assert.equal(ended.status, 0, ended.stderr);
  await assertEqualFiles(source, target);
});

test('SIGTERM does not wait for connections without a token', async () => {
  await using scene = await makeScene();
  const sockets = [await silentTcp(scene.receiver), await silentTls(scene.receiver)];
  scene.receiver.process.kill('SIGTERM');
  // A handshake may take twice as long.
  const { status } = await bounded('the receiver to end', scene.receiver.process.ended, 15_000);
  assert.equal(status, 143);
  for (const socket of sockets) socket.destroy();
});

test('--once waits for the sender, not for those who ask whether it is alive', async () => {
  await using scene = await makeScene('--once');
  const { receiver, source, ticket } = scene;
  const over = new AbortController();
  const asking = (async () => {
    while (!over.signal.aborted) {
      const socket = await silentTls(receiver);
      socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n');
      await delay(300);
      socket.destroy();
    }
  })();
  try {
    await sendAll(...ticket, source);
    // It would wait twice as long for them.
    const { status } = await bounded('the receiver to end', receiver.process.ended, 30_000);
    assert.equal(status, 0);
  } finally {
    over.abort();
    await asking;
  }
});
