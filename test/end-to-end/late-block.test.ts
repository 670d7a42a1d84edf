/** Near the end of a transfer nothing waits for the slowest connection. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  MIB,
  OWN_HOST,
  assertEqualFiles,
  doneOf,
  eventsOf,
  runSender,
  startReceiver,
  writeTicketVia,
} from '../support/processes.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { Relay } from '../support/relay.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
/** A connection that stands still is given up after a minute. */
const STALL_SECONDS = 60;

/** Passes everything on, except after `bytesMax` bytes of the first connection that gets so far. */
async function startUneven(
  to: { host: string; port: number },
  bytesMax: number,
): Promise<AsyncDisposable & { port: number }> {
  const open = new Set<Socket>();
  let stuck: Socket | undefined;
  const server = createServer((near) => {
    const far = connect(to);
    let passed = 0;
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
      });
    }
    far.pipe(near);
    near.on('data', (piece: Buffer) => {
      passed += piece.length;
      if (passed > bytesMax) stuck ??= near;
      if (near === stuck) near.pause();
      else far.write(piece);
    });
  }).listen(0, OWN_HOST);
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

test('a block on a connection that stands still is hedged on another one, and counts once', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(16 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  await using line = await startUneven(receiver, MIB / 2);
  const ticketFile = await writeTicketVia(receiver, line, join(folder.path, 'via'));
  const options = ['--connections', '4', '--block-size', '1MiB', '--progress', 'json'];
  const ended = await runSender([...options, '--ticket-file', ticketFile, source]);
  assert.equal(ended.status, 0, ended.stderr);
  const done = doneOf(ended);
  assert.deepEqual([done.blocksSent, done.blocksResent], [16, 1]);
  assert(done.seconds < STALL_SECONDS / 2, `${done.seconds} s`);
  const durable = eventsOf(ended.stdout).map((event) => Number(event['blocksDurable'] ?? 0));
  assert(Math.max(...durable) <= 16);
  await assertEqualFiles(source, target);
});

test('auto stays below the limit of the receiver, and reports the number of connections', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(16 * MIB));
  const options = ['--max-connections', '3'];
  await using receiver = await startReceiver({ folder: folder.path, target, options });
  await using line = await Relay.start({ to: receiver, bytesPerSecond: 4 * MIB });
  const ticketFile = await writeTicketVia(receiver, line, join(folder.path, 'via'));
  const ended = await runSender(['--progress', 'json', '--ticket-file', ticketFile, source]);
  assert.equal(ended.status, 0, ended.stderr);
  assert.doesNotMatch(ended.stderr, /warning/);
  assert.equal(line.connectionCount, 2);
  const told = eventsOf(ended.stdout).map((event) => Number(event['connections'] ?? 0));
  assert.equal(Math.max(...told), 2);
  await assertEqualFiles(source, target);
});
