/** Disks that fail, and kernels that report it only once. */
import assert from 'node:assert/strict';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  BLOCK_BYTES,
  SMALL_BLOCKS,
  assertCopied,
  assertJournalTrue,
  randomSource,
} from '../support/copied.ts';
import { faultDisk, skipUnlessFaultDisk } from '../support/fault-disk.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import {
  doneOf,
  runReceiver,
  runSender,
  startReceiver,
  startSender,
  Receiver,
} from '../support/processes.ts';
import { runOk, type Ended } from '../support/run.ts';
import { smallFs } from '../support/small-fs.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCKS = 16;
const SIZE_BYTES = BLOCKS * BLOCK_BYTES;

async function send(from: { ticketFile: string }, source: string, ...more: string[]): Promise<Ended> {
  return await runSender([...SMALL_BLOCKS, ...more, '--ticket-file', from.ticketFile, source]);
}

test(
  'one write that fails once costs an epoch, not the transfer',
  { skip: skipUnlessFaultDisk },
  async () => {
    await using folder = await tempDir();
    await using disk = await faultDisk(SIZE_BYTES);
    const source = await randomSource(folder.path, BLOCKS);
    await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
    await disk.setFault({ fault: 'write-fails', from: 5 * BLOCK_BYTES, end: 6 * BLOCK_BYTES, times: 1 });
    // With so many connections the one error ends many writes.
    await assertCopied(await send(receiver, source, '--connections', '16'), source, disk.medium);
    assert.match(
      receiver.process.stderr,
      /warning: block 5: cannot write 65536 bytes at offset 327680 to \S+: input\/output error; \d+ block/,
    );
  },
);

test('what a failed flush should have kept is sent again', { skip: skipUnlessFaultDisk }, async () => {
  await using folder = await tempDir();
  await using disk = await faultDisk(SIZE_BYTES);
  const source = await randomSource(folder.path, BLOCKS);
  await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
  await disk.setFault({ fault: 'flush-fails', times: 1 });
  const sending = await send(receiver, source, '--progress', 'json');
  await assertCopied(sending, source, disk.medium);
  assert(doneOf(sending).blocksResent > 0);
  assert.match(
    receiver.process.stderr,
    /warning: cannot flush \S+: input\/output error; \d+ blocks? that w\w+ not/,
  );
});

test(
  'a flush that always fails makes nothing durable and ends with 5',
  { skip: skipUnlessFaultDisk },
  async () => {
    await using folder = await tempDir();
    await using disk = await faultDisk(SIZE_BYTES);
    const source = await randomSource(folder.path, BLOCKS);
    await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
    await disk.setFault({ fault: 'flush-fails' });
    const sending = await send(receiver, source);
    assert.equal(sending.status, 5, sending.stderr);
    const path = disk.path;
    assert.equal(
      sending.stderr.split('\n').slice(-3).join('\n'),
      'ddt-send: error: the target fails again and again: the receiver says: ' +
        `cannot flush ${path}: input/output error\n` +
        "ddt-send: hint: check the disk on the receiver's machine, then run the same command again " +
        'to resume; what is durable is safe\n',
    );
    await receiver.end('SIGKILL');
    assert.deepEqual((await assertJournalTrue(receiver.stateDir, disk.medium)).durable, []);
  },
);

/**
 * The kernel takes all writes into its cache, finds no room for half of them when it writes them back,
 * reports that to one fdatasync and forgets it. O_DIRECT would avoid that: its open is made to fail.
 */
test(
  'a flush that succeeds after a failed one proves nothing about earlier writes',
  {
    skip: skipUnlessLoop || skipUnlessStrace,
  },
  async () => {
    await using folder = await tempDir();
    await using thin = await smallFs(SIZE_BYTES / 2);
    const backing = join(thin.path, 'disk');
    await writeFile(backing, '');
    await truncate(backing, SIZE_BYTES);
    await using loop = await attached(backing);
    const source = await randomSource(folder.path, BLOCKS);
    await using receiver = new Receiver({ target: loop.path, folder: folder.path });
    const { path, when } = await directOpenOf(loop.path);
    const inject = `openat:error=EINVAL:when=${when}`;
    await receiver.start(strace({ log: join(folder.path, 'log'), trace: 'openat', paths: [path], inject }));
    const sending = await send(receiver, source);
    assert.equal(sending.status, 5, sending.stderr);
    assert.match(
      receiver.process.stderr,
      /cannot flush .*; 16 blocks that were not flushed yet will be sent again/,
    );
    await receiver.end('SIGKILL');
    await assertJournalTrue(receiver.stateDir, loop.path);
    await thin.resize(4 * SIZE_BYTES);
    await receiver.start();
    await assertCopied(await send(receiver, source), source, loop.path);
  },
);

/** A loop device over an existing file, through the page cache. */
async function attached(backing: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = (await runOk('losetup', ['--find', '--show', backing])).trim();
  return { path, [Symbol.asyncDispose]: async () => void (await runOk('losetup', ['--detach', path])) };
}

/** The path by which the receiver opens its target with O_DIRECT, and which open of it that is, from 1. */
async function directOpenOf(target: string): Promise<{ path: string; when: number }> {
  await using folder = await tempDir();
  await using receiver = new Receiver({ target, folder: folder.path });
  const log = join(folder.path, 'log');
  const { under = [], env } = strace({ log, trace: 'openat' });
  await receiver.start({ under: [...under, '--string-limit=99'], ...(env === undefined ? {} : { env }) });
  await receiver.end('SIGTERM');
  const text = await readFile(log, 'utf8');
  // By the descriptor that is open already.
  const [, thread, path = ''] = /^(\d+) .*"(\/proc\/self\/fd\/\d+)".*O_DIRECT/m.exec(text) ?? [];
  const same = text.split('\n').filter((line) => line.startsWith(`${thread} `) && line.includes(`"${path}"`));
  const when = same.findIndex((line) => line.includes('O_DIRECT')) + 1;
  assert(when > 0, text);
  return { path, when };
}

test(
  'a full target is waited for, and the same run continues when there is room',
  { skip: skipUnlessLoop },
  async () => {
    await using folder = await tempDir();
    await using thin = await smallFs(SIZE_BYTES / 2);
    const source = await randomSource(folder.path, BLOCKS);
    const target = join(thin.path, 'disk');
    await using receiver = await startReceiver({ target, folder: folder.path });
    await using sender = await startSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source]);
    await sender.waitForLine(
      /cannot write 65536 bytes at offset \d+ to \S+: no space left on device; trying again /,
    );
    await thin.resize(2 * SIZE_BYTES);
    await assertCopied(await sender.ended, source, target);
    const { stderr } = await receiver.end('SIGTERM');
    assert.match(
      stderr,
      /warning: block \d+: .* no space left on device: free some space.*\n(.*\n)*.* there is room/,
    );
    await assertJournalTrue(receiver.stateDir, target);
  },
);

test('a target that stays full is given up with 6 after --retry-for', { skip: skipUnlessLoop }, async () => {
  await using folder = await tempDir();
  await using thin = await smallFs(SIZE_BYTES / 2);
  const source = await randomSource(folder.path, BLOCKS);
  const target = join(thin.path, 'disk');
  await using receiver = await startReceiver({ target, folder: folder.path });
  const sending = await send(receiver, source, '--retry-for', '1s');
  assert.equal(sending.status, 6, sending.stderr);
  assert.match(
    sending.stderr,
    /gave up after \d+ s without progress: the receiver says: block.*: no space .*\n.*: hint: run/,
  );
  await receiver.end('SIGKILL');
  const { durable } = await assertJournalTrue(receiver.stateDir, target);
  await thin.resize(2 * SIZE_BYTES);
  await receiver.start();
  const again = await send(receiver, source, '--progress', 'json');
  await assertCopied(again, source, target);
  assert.equal(doneOf(again).blocksSkipped, durable.length);
});

test(
  'a target that turns read-only ends the transfer with 5 and is refused at the next start',
  {
    skip: skipUnlessLoop,
  },
  async () => {
    await using folder = await tempDir();
    await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
    const source = await randomSource(folder.path, BLOCKS);
    await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
    await runOk('blockdev', ['--setro', disk.path]);
    const sending = await send(receiver, source);
    assert.equal(sending.status, 5, sending.stderr);
    assert.match(
      sending.stderr,
      /again and again: the receiver says: blocks? [-, \d]+: cannot write .*: operation not permitted\n/,
    );
    await receiver.end('SIGTERM');
    const refused = await runReceiver(['--state-dir', receiver.stateDir, disk.path]);
    assert.equal(refused.status, 4);
    assert.match(refused.stderr, /error: cannot write to \S+ \(loop device .*\): the device is read-only\n/);
    assert.equal(refused.stderr.split('\n').at(-2), `ddt-receive: hint: blockdev --setrw ${disk.path}`);
    await runOk('blockdev', ['--setrw', disk.path]);
    await receiver.start();
    await assertCopied(await send(receiver, source), source, disk.path);
  },
);
