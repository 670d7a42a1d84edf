import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { prng } from '../support/prng.ts';
import {
  assertEqualFiles,
  doneOf,
  KIB,
  MIB,
  runSender,
  startReceiver,
  startSender,
  writeTicketVia,
  type Receiver,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import type { Started } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

interface Scene extends AsyncDisposable {
  readonly folder: TempDir;
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  readonly relay: Relay;
  /** With a ticket that leads through the relay. */
  send(...options: readonly string[]): Promise<Started>;
}

async function scene(sourceBytes: number): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source.img');
  const target = join(folder.path, 'target.img');
  await writeFile(source, prng(7).bytes(sourceBytes));
  const receiver = stack.use(await startReceiver({ folder: folder.path, target }));
  const relay = stack.use(await Relay.start({ to: { host: receiver.host, port: receiver.port } }));
  const ticketFile = await writeTicketVia(receiver, relay, join(folder.path, 'ticket-via'));
  const moved = stack.move();
  return {
    folder,
    source,
    target,
    receiver,
    relay,
    async send(...options) {
      const sender = await startSender(['--ticket-file', ticketFile, ...options, source]);
      moved.use(sender);
      return sender;
    },
    [Symbol.asyncDispose]: async () => await moved.disposeAsync(),
  };
}

/** Bytes a second as the line sees them, TLS included. */
async function rateOver(seconds: number, relay: Relay): Promise<number> {
  const [startMs, before] = [performance.now(), relay.bytes];
  await delay(seconds * 1000);
  return ((relay.bytes - before) * 1000) / (performance.now() - startMs);
}

for (const { limit, wanted, connections, megabytes } of [
  { limit: '1M', wanted: MIB, connections: 8, megabytes: 24 },
  { limit: '8K', wanted: 8 * KIB, connections: 64, megabytes: 12 },
  { limit: '10M', wanted: 10 * MIB, connections: 16, megabytes: 160 },
]) {
  test(`a limit of ${limit} is kept to 5 % over 10 s by ${connections} connections`, async (context) => {
    await using all = await scene(megabytes * MIB);
    await using sender = await all.send('--bwlimit', limit, '--connections', String(connections));
    await all.relay.reach(2 * wanted);
    const rate = await rateOver(10, all.relay);
    context.diagnostic(`${(rate / KIB).toFixed(1)} KiB/s, ${((rate / wanted - 1) * 100).toFixed(1)} %`);
    assert(Math.abs(rate / wanted - 1) < 0.05, `${rate} bytes/s instead of ${wanted}`);
    assert.match(sender.stderr, /^limit {4}\d+ [KM]iB\/s \(.* [kM]bit\/s\)$/m);
    assert.doesNotMatch(sender.stderr, /warning/);
  });
}

test('a limited transfer arrives whole, including an odd last block', async () => {
  await using all = await scene(3 * MIB + 12_345);
  const options = ['--bwlimit', '2M:100k', '--block-size', '256KiB', '--progress', 'json'];
  const ended = await (await all.send(...options)).ended;
  assert(all.relay.bytes > 3 * MIB);
  const { seconds } = doneOf(ended) as unknown as { seconds: number };
  assert(seconds > 1.3, `${seconds} s`);
  await assertEqualFiles(all.source, all.target);
});

test('an edit of the file changes the limit; a broken one is reported once and changes nothing', async () => {
  await using all = await scene(20 * MIB);
  const file = join(all.folder.path, 'limit');
  await writeFile(file, '00:00,256K\n');
  await using sender = await all.send('--bwlimit', `@${file}`);
  await all.relay.reach(300 * KIB);
  await writeFile(file, '5X\n');
  await sender.waitForLine(
    /^ddt-send: warning: cannot use the bandwidth limit in .*: '5X' is not a bandwidth limit; the limit/,
  );
  const slow = await rateOver(3, all.relay);
  assert(slow < 300 * KIB, `${slow}`);
  assert.equal(sender.stderr.match(/warning/g)?.length, 1);
  // As editors do it: another file replaces it.
  await writeFile(`${file}.new`, '2M\n');
  await rename(`${file}.new`, file);
  await sender.waitForLine(/^limit {4}changed to 2 MiB\/s \(16\.8 Mbit\/s\)$/);
  const fast = await rateOver(3, all.relay);
  assert(fast > 1.7 * MIB && fast < 2.3 * MIB, `${fast}`);
  await writeFile(file, 'off');
  await sender.waitForLine(/^limit {4}changed to off$/);
  assert.equal((await sender.ended).status, 0, sender.stderr);
  await assertEqualFiles(all.source, all.target);
});

test('SIGHUP makes it read the file again, and does not end it', async () => {
  await using all = await scene(4 * MIB);
  const file = join(all.folder.path, 'limit');
  await writeFile(file, '64K');
  await using sender = await all.send('--bwlimit', `@${file}`);
  await all.relay.reach(64 * KIB);
  await writeFile(file, 'nonsense');
  sender.kill('SIGHUP');
  await sender.waitForLine(/'nonsense' is not a bandwidth limit; the limit stays as it was$/);
  await writeFile(file, 'off');
  sender.kill('SIGHUP');
  await sender.waitForLine(/^limit {4}changed to off$/);
  assert.equal((await sender.ended).status, 0, sender.stderr);
});

test('SIGHUP does not end a transfer whose limit is on the command line either', async () => {
  await using all = await scene(2 * MIB);
  await using sender = await all.send('--bwlimit', '1M');
  await all.relay.reach(256 * KIB);
  sender.kill('SIGHUP');
  assert.equal((await sender.ended).status, 0, sender.stderr);
  await assertEqualFiles(all.source, all.target);
});

test('an interruption in the middle of a paced block ends it at once', async () => {
  await using all = await scene(8 * MIB);
  await using sender = await all.send('--bwlimit', '16K', '--connections', '8');
  await all.relay.reach(32 * KIB);
  const startMs = performance.now();
  sender.kill('SIGINT');
  assert.equal((await sender.ended).status, 130);
  assert(performance.now() - startMs < 3000);
});

test('invalid limits are refused before anything is sent', async () => {
  for (const [limit, message] of [
    ['fast', /^ddt-send: error: 'fast' is not a bandwidth limit\nddt-send: hint: examples: 2M, off, /],
    ['100B', /^ddt-send: error: the bandwidth limit '100B' is not between 1K and 8191T a second\n/],
    [
      '@/nowhere/limit',
      /error: cannot read the bandwidth limit from \/nowhere\/limit: no such file or directory\n/,
    ],
  ] as const) {
    const { status, stderr } = await runSender(['--bwlimit', limit, '/dev/null', 'https://no-ticket']);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  }
});
