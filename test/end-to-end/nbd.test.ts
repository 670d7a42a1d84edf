/** Exports of NBD servers as source and target, and what happens when the server is killed. */
import assert from 'node:assert/strict';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FOREIGN_ROUNDS_MAX } from '../../receiver/durability/foreign-writes.ts';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { makeCertificates } from '../support/nbd-certificates.ts';
import { NbdServer } from '../support/nbd-server.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  eventsOf,
  runReceiver,
  runSender,
  sendAll,
  startReceiver,
  startSender,
  until,
  type Receiver,
} from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessInstalled('nbdkit');
const seed = freshSeed();
const BLOCK = ['--block-size', '64KiB'];

/** A random source, and a target of its size without data. @returns the path of a name in the folder. */
async function makeDisks(folder: string, sizeBytes: number): Promise<(name: string) => string> {
  const at = (name: string): string => join(folder, name);
  await writeFile(at('source'), prng(seed).bytes(sizeBytes));
  await writeFile(at('target'), '');
  await truncate(at('target'), sizeBytes);
  return at;
}

test('from one export onto another, whose word it is that they are equal', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const bytes = prng(seed).bytes(4 * MIB);
  bytes.fill(0, MIB, 2 * MIB);
  await writeFile(at('source'), bytes);
  await writeFile(at('target'), '');
  await truncate(at('target'), 4 * MIB);
  await using source = await NbdServer.nbdkit(at('from'), '--readonly', 'file', at('source'));
  await using target = await NbdServer.nbdkit(at('onto'), 'file', at('target'));
  await using receiver = await startReceiver({ folder: folder.path, target: target.uri });
  const place = ['--ticket-file', receiver.ticketFile, source.uri];
  const done = await sendAll(...BLOCK, '--receipt', at('receipt.json'), ...place);
  assert.deepEqual([done.blocksSent, done.blocksZero], [48, 16]);
  await assertEqualFiles(at('source'), at('target'));
  const receipt = JSON.parse(await readFile(at('receipt.json'), 'utf8')) as SealReceipt;
  assert.deepEqual(
    [receipt.readBack, receipt.target.path],
    ['nbd-server', `nbd+unix:///?socket=${at('onto')}`],
  );
  assert.equal(done.readBack, 'nbd-server');
  const words = / on nbd\+unix:\S+: (durable, )?read back and equal, as its NBD server says/;
  for (const more of [[], ['--check']]) {
    const again = await runSender([...more, ...place]);
    assert.deepEqual([again.status, words.test(again.stdout)], [0, true], again.stdout + again.stderr);
  }
  assert.equal((await receiver.end('SIGTERM')).status, 0);
  assert.equal((await runReceiver(['--check-receipt', at('receipt.json'), target.uri])).status, 0);
  await writeFile(at('target'), 'other', { flag: 'r+' });
  assert.equal((await runReceiver(['--check-receipt', at('receipt.json'), target.uri])).status, 3);
});

test('a check before the seal says whose word it is, too', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = await makeDisks(folder.path, MIB);
  await using target = await NbdServer.nbdkit(at('onto'), 'file', at('target'));
  await using receiver = await startReceiver({ folder: folder.path, target: target.uri });
  const place = [...BLOCK, '--progress', 'json', '--ticket-file', receiver.ticketFile, at('source')];
  assert.equal((await receiver.status()).readBack, null);
  assert.equal((await runSender(['--keep-open', ...place])).status, 3);
  const checked = await runSender(['--check', ...place]);
  const { event, isEqual, state, readBack } = eventsOf(checked.stdout).at(-1) ?? {};
  assert.deepEqual([event, isEqual, state, readBack], ['compared', true, 'open', 'nbd-server']);
});

/** Almost every one of them comes while something is not flushed. */
const KILLS_MAX = 5;

function countOf({ process }: Receiver, pattern: RegExp): number {
  return process.stderr.match(pattern)?.length ?? 0;
}

test(
  'servers that are killed on both sides are waited for, and what they lost is sent again',
  { skip },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const at = await makeDisks(folder.path, 8 * MIB);
    await using source = await NbdServer.nbdkit(at('from'), '--readonly', 'file', at('source'));
    await using target = await NbdServer.nbdkit(at('onto'), 'file', at('target'));
    await using receiver = await startReceiver({ folder: folder.path, target: target.uri });
    const place = ['--progress', 'json', '--ticket-file', receiver.ticketFile, source.uri];
    await using sender = await startSender([...BLOCK, '--bwlimit', '2M', ...place]);
    await until('some durable blocks', async () => (await receiver.durableCount()) > 20);
    // Between a flush and the next write there is nothing to be lost.
    const hasLost = (): boolean =>
      /warning: cannot flush nbd\+unix:.*lost before everything was flushed/.test(receiver.process.stderr);
    for (let killed = 1; !hasLost() && killed <= KILLS_MAX; killed++) {
      await target.kill();
      await until('the server to be missed', () => countOf(receiver, /is gone: .*; trying again/g) >= killed);
      await target.start();
      await until('it to be found again', () => countOf(receiver, /is back after /g) >= killed);
      await until('a flush', async () => hasLost() || (await receiver.durableCount()) > 20 + killed);
    }
    assert(hasLost());
    await source.kill();
    await sender.waitForLine(/is gone: .*; trying again/);
    await source.start();
    const done = doneOf(await bounded('the copy', sender.ended));
    assert(done.blocksResent > 0, 'what was not flushed');
    await assertEqualFiles(at('source'), at('target'));
  },
);

test('a loss while all is read back makes it be read once more, and is nobody else', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = await makeDisks(folder.path, 4 * MIB);
  const slow = ['--filter=delay', 'file', at('target'), 'rdelay=20ms'];
  await using target = await NbdServer.nbdkit(at('onto'), ...slow);
  await using receiver = await startReceiver({ folder: folder.path, target: target.uri });
  const place = ['--progress', 'json', '--ticket-file', receiver.ticketFile, at('source')];
  await using sender = await startSender([...BLOCK, ...place]);
  const verified = async (): Promise<number> => (await receiver.status()).blocks.verified;
  // As often as another program might write.
  for (let rounds = 0; rounds < FOREIGN_ROUNDS_MAX; rounds++) {
    await until('some of it to be read back', async () => (await verified()) > 8);
    await target.kill();
    await target.start();
    await until('it to be read once more', async () => (await verified()) <= 8);
  }
  doneOf(await bounded('the copy', sender.ended));
  assert.doesNotMatch(receiver.process.stderr, /another program/);
  await assertEqualFiles(at('source'), at('target'));
});

test('a receiver that waits for its server can be stopped', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = await makeDisks(folder.path, 2 * MIB);
  const slow = ['--filter=delay', 'file', at('target'), 'rdelay=100ms'];
  await using target = await NbdServer.nbdkit(at('onto'), ...slow);
  await using receiver = await startReceiver({ folder: folder.path, target: target.uri });
  await using _sender = await startSender([...BLOCK, '--ticket-file', receiver.ticketFile, at('source')]);
  await until('some of it to be read back', async () => (await receiver.status()).blocks.verified > 2);
  await target.kill();
  await receiver.process.waitForLine(/ is gone: /);
  assert.equal((await receiver.end('SIGTERM')).status, 143);
});

test('the same command resumes onto an export, and another size is refused', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = await makeDisks(folder.path, 8 * MIB);
  await using target = await NbdServer.nbdkit(at('onto'), 'file', at('target'));
  await using receiver = await startReceiver({ folder: folder.path, target: target.uri });
  const place = ['--progress', 'json', '--ticket-file', receiver.ticketFile, at('source')];
  await using sender = await startSender([...BLOCK, '--bwlimit', '4M', ...place]);
  await until('some durable blocks', async () => (await receiver.durableCount()) > 20);
  await receiver.end('SIGKILL');
  sender.kill('SIGKILL');
  await receiver.start();
  assert((await sendAll(...place)).blocksSkipped > 20);
  await assertEqualFiles(at('source'), at('target'));
  await receiver.end('SIGTERM');
  await target.kill();
  await truncate(at('target'), 9 * MIB);
  await target.start();
  const place2 = ['--listen', '127.0.0.1:0', '--state-dir', receiver.stateDir];
  const again = await runReceiver([...place2, target.uri]);
  assert.equal(again.status, 4);
  assert.match(again.stderr, /its size in bytes was 8388608 when the transfer began and is 9437184 now/);
});

test('what the server refuses to read can be zeros, listed', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const script = [
    'eval',
    'get_size=echo 1048576',
    'pread=if [ $4 -lt 66560 ] && [ $(($4 + $3)) -gt 66048 ]; then echo EIO a bad sector >&2; exit 1; fi; ' +
      'head -c $3 /dev/zero | tr "\\0" x',
  ];
  await using source = await NbdServer.nbdkit(at('from'), ...script);
  await using receiver = await startReceiver({ folder: folder.path, target: at('target') });
  const place = ['--ticket-file', receiver.ticketFile, source.uri];
  const stopped = await runSender([...BLOCK, ...place]);
  assert.equal(stopped.status, 5);
  assert.match(stopped.stderr, /cannot read 512 bytes at offset 66048 of nbd\+unix:\S+: input\/output error/);
  const sent = await runSender(['--on-read-error', 'zero', ...place]);
  assert.equal(sent.status, 3, sent.stderr);
  const wanted = Buffer.alloc(MIB, 'x').fill(0, 66_048, 66_560);
  assert((await readFile(at('target'))).equals(wanted));
});

test('a target without FLUSH, or one that is read-only, is refused', { skip }, async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const place = ['--listen', '127.0.0.1:0', '--state-dir', at('state')];
  const script = ['get_size=echo 1048576', 'pread=head -c $3 /dev/zero', 'pwrite=cat >/dev/null'];
  for (const [words, message] of [
    [['eval', ...script, 'can_flush=exit 3'], /its NBD server has no FLUSH/],
    [['--readonly', 'memory', '1M'], /its NBD server serves it read-only/],
  ] as const) {
    await using server = await NbdServer.nbdkit(at('s'), ...words);
    const ended = await runReceiver([...place, server.uri]);
    assert.deepEqual([ended.status, message.test(ended.stderr)], [4, true], ended.stderr);
  }
});

test(
  'with TLS the certificate is compared with the name',
  { skip: skip || unlessInstalled('certtool') },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const at = (name: string): string => join(folder.path, name);
    await makeCertificates(at('pki'), 'vm.example.org');
    await mkdir(at('empty'));
    await writeFile(at('source'), prng(seed).bytes(MIB));
    const tls = ['--tls=require', `--tls-certificates=${at('pki')}`, '--tls-verify-peer'];
    await using server = await NbdServer.nbdkit(at('s'), ...tls, '--readonly', 'file', at('source'));
    const uri = (name: string, pki: string): string =>
      `nbds+unix:///?socket=${at('s')}&tls-hostname=${name}&tls-certificates=${at(pki)}`;
    await using receiver = await startReceiver({ folder: folder.path, target: at('target') });
    const ticket = ['--ticket-file', receiver.ticketFile];
    for (const [source, message] of [
      [uri('vm.example.com', 'pki'), /cannot encrypt the connection: .*vm\.example\.com/s],
      [uri('vm.example.org', 'empty'), /there is no ca-cert\.pem/],
      [server.uri, /it wants TLS\n.*write nbds:/],
    ] as const) {
      const ended = await runSender([...ticket, source]);
      assert.match(ended.stderr, message);
      assert([2, 4].includes(ended.status ?? 0), ended.stderr);
    }
    await sendAll(...BLOCK, ...ticket, uri('vm.example.org', 'pki'));
    await assertEqualFiles(at('source'), at('target'));
  },
);
