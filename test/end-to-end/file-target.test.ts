import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  environment,
  eventsOf,
  runSender,
  sendAll,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = ['--block-size', '64KiB'];

test('a file arrives equal on a file target, and every block is accounted for', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  const bytes = prng(seed).bytes(16 * MIB + 12_345);
  bytes.fill(0, 2 * MIB, 5 * MIB);
  // Zeros but for one byte are data.
  bytes.fill(0, 6 * MIB, 7 * MIB).fill(1, 7 * MIB - 1, 7 * MIB);
  await writeFile(source, bytes);
  await using receiver = await startReceiver({ folder: folder.path, target });
  const done = await sendAll(...BLOCK, '--ticket-file', receiver.ticketFile, source);
  await assertEqualFiles(source, target);
  assert.equal(done.blocksTotal, 257);
  assert.equal(done.blocksZero, 48 + 15);
  assert.deepEqual([done.blocksSent, done.blocksSkipped, done.blocksResent], [257 - 63, 0, 0]);
  assert.deepEqual((await receiver.status()).state, 'sealed');
});

test(
  'ssh-keygen verifies the receipt, which names the root that the sender computed',
  { skip: unlessInstalled('ssh-keygen') },
  async () => {
    await using folder = await tempDir();
    const source = join(folder.path, 'source');
    await writeFile(source, prng(seed).bytes(MIB));
    await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
    const { root } = await sendAll(...BLOCK, '--ticket-file', receiver.ticketFile, source);
    const json = (await receiver.request('GET', '/receipt')).body;
    const signature = (await receiver.request('GET', '/receipt?part=signature')).body;
    const receipt: SealReceipt = JSON.parse(json.toString());
    assert.deepEqual([receipt.root, receipt.size, receipt.blockSize], [root, MIB, 65_536]);
    const signers = join(folder.path, 'signers');
    await writeFile(signers, `receiver ${receipt.receiverKey}\n`);
    await writeFile(join(folder.path, 'signature'), signature);
    const place = ['-f', signers, '-I', 'receiver', '-s', join(folder.path, 'signature')];
    const verify = ['-Y', 'verify', '-n', 'ddt-receipt-v1@dd-transfer', ...place];
    assert.equal((await run('ssh-keygen', verify, { input: json })).status, 0);
    const forged = Buffer.from(json.toString().replace(root, `sha256:${'0'.repeat(64)}`));
    assert.notEqual((await run('ssh-keygen', verify, { input: forged })).status, 0);
  },
);

test('a receiver with --once ends with status 0 when the transfer is sealed', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, prng(seed).bytes(MIB));
  await using receiver = await startReceiver({ folder: folder.path, target, options: ['--once'] });
  await sendAll(...BLOCK, source, receiver.ticket);
  const { status, signal } = await bounded('the receiver to end', receiver.process.ended);
  assert.deepEqual([status, signal], [0, null]);
  await assertEqualFiles(source, target);
});

test('progress never counts a block that is not durable, and ends with exactly one done', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(seed).bytes(12 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  await using relay = await Relay.start({ to: receiver, bytesPerSecond: 4 * MIB });
  const ticketFile = await writeTicketVia(receiver, relay, join(folder.path, 'via'));
  const options = ['--progress', 'json', ...BLOCK, '--ticket-file', ticketFile];
  await using sender = await startSender([...options, source]);
  let isOver = false;
  void sender.ended.then(() => (isOver = true));
  const claimed = new Set<number>();
  await until('the sender to end', async () => {
    const text = sender.stdout.slice(0, sender.stdout.lastIndexOf('\n') + 1);
    const count = Number(eventsOf(text).at(-1)?.['blocksDurable'] ?? 0);
    claimed.add(count);
    const durable = await receiver.durableCount();
    assert(count <= durable, `${count} blocks are durable says the sender, the receiver says ${durable}`);
    return isOver;
  });
  assert(claimed.size >= 3, `progress was seen at ${[...claimed].join(', ')}`);
  const events = eventsOf((await sender.ended).stdout).map(({ event }) => event);
  assert.deepEqual(events.slice(0, -1), Array(events.length - 1).fill('progress'));
  doneOf(await sender.ended);
});

test('a failure is the one last event', async () => {
  await using folder = await tempDir();
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const nothing = join(folder.path, 'nothing');
  const ended = await runSender(['--progress', 'json', nothing, receiver.ticket]);
  assert.equal(ended.status, 4);
  assert.deepEqual(eventsOf(ended.stdout), [
    {
      event: 'failed',
      code: 'source-refused',
      message: `cannot use ${nothing}: no such file or directory`,
      hint: 'lsblk --output PATH,SIZE,MODEL,SERIAL',
    },
  ]);
});

test('neither token nor ticket is in what the commands say or in the list of processes', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(seed).bytes(4 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  await using relay = await Relay.start({ to: receiver, holdAtBytes: MIB });
  const ticketFile = await writeTicketVia(receiver, relay, join(folder.path, 'via'));
  await using sender = await startSender([...BLOCK, '--ticket-file', ticketFile, source]);
  await relay.reach(MIB);
  const lines = await commandLines();
  assert(
    lines.some((line) => line.includes(`ddt-send: ${source}`)),
    'the sender is among the processes',
  );
  relay.cut();
  relay.release();
  const { status, stdout, stderr } = await bounded('the sender to end', sender.ended);
  assert.equal(status, 0, stderr);
  const parts = [receiver.token, ...receiver.token.split('.').slice(1)];
  for (const secret of [receiver.ticket, ...parts, ...parts.map(encodeURIComponent)]) {
    for (const text of [stdout, stderr, receiver.process.stderr, ...lines]) {
      assert(!text.includes(secret), `a secret is in: ${text.replaceAll(secret, '«secret»')}`);
    }
  }
});

/** Of all processes, as `ps` shows them. */
async function commandLines(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  return await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
}

test('the ticket is taken from $DDT_TICKET too', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const target = join(folder.path, 'target');
  await writeFile(source, prng(seed).bytes(MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const ended = await runSender([source], { DDT_TICKET: receiver.ticket });
  assert.equal(ended.status, 0, ended.stderr);
  await assertEqualFiles(source, target);
});

test('a sender does not start while certificate checks are switched off', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, 'x');
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  assert.equal(environment()['NODE_TLS_REJECT_UNAUTHORIZED'], undefined);
  for (const value of ['0', '']) {
    const ended = await runSender([source, receiver.ticket], { NODE_TLS_REJECT_UNAUTHORIZED: value });
    assert.equal(ended.status, 4, ended.stderr);
    assert.match(ended.stderr, /^ddt-send: error: NODE_TLS_REJECT_UNAUTHORIZED is set in the environment$/m);
  }
  assert.equal((await receiver.status()).state, 'unclaimed');
});
