/** Disks in images as source and target, through a qemu-nbd that comes and goes with the command. */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { copyFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { IMAGE_FORMATS } from '../../common/nbd/image-format.ts';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  runReceiver,
  runSender,
  sendAll,
  startReceiver,
  startSender,
  until,
} from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessInstalled('qemu-img', 'qemu-nbd');
const seed = freshSeed();
/** Half a kilobyte more than whole blocks. */
const DISK_BYTES = 6 * MIB + 512;
const BLOCK = ['--block-size', '64KiB'];

/** Data, zeros and the end of a disk that is no multiple of a block. */
async function makeDisk(path: string): Promise<void> {
  const bytes = prng(seed).bytes(2 * MIB + 512);
  bytes.fill(0, MIB / 2, MIB);
  await writeFile(path, bytes);
  await truncate(path, DISK_BYTES);
}

async function compare(one: string, other: string): Promise<void> {
  assert.match(await runOk('qemu-img', ['compare', one, other]), /Images are identical/);
}

for (const format of IMAGE_FORMATS) {
  test(`the disk in a ${format} image arrives, in an image and out of it`, { skip }, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const at = (name: string): string => join(folder.path, name);
    await makeDisk(at('disk.img'));
    await runOk('qemu-img', ['create', '-q', '-f', format, at(`target.${format}`), String(DISK_BYTES)]);
    {
      await using receiver = await startReceiver({ folder: folder.path, target: at(`target.${format}`) });
      const { target } = await receiver.status();
      assert.deepEqual([target.content, target.size], [[], DISK_BYTES]);
      const place = ['--ticket-file', receiver.ticketFile, '--receipt', at('receipt.json')];
      const sent = await sendAll(...BLOCK, ...place, at('disk.img'));
      assert.equal(sent.readBack, 'nbd-server');
      const receipt = JSON.parse(await readFile(at('receipt.json'), 'utf8')) as SealReceipt;
      assert.deepEqual([receipt.verified, receipt.readBack], ['read-back', 'nbd-server']);
      assert.equal(receipt.target.description, `disk in a ${format} image`);
      assert.equal((await receiver.end('SIGTERM')).status, 0);
    }
    await compare(at('disk.img'), at(`target.${format}`));
    await using receiver = await startReceiver({
      folder: folder.path,
      target: at('back.img'),
      options: ['--once'],
    });
    await sendAll(...BLOCK, '--ticket-file', receiver.ticketFile, at(`target.${format}`));
    await bounded('the receiver to end', receiver.process.ended);
    await assertEqualFiles(at('disk.img'), at('back.img'));
    const check = ['--check-receipt', at('receipt.json'), at(`target.${format}`)];
    assert.equal((await runReceiver(check)).status, 0, 'the disk in the image is what was sealed');
  });
}

test('a receiver of an image that is killed in the middle resumes', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('disk.img'), prng(seed).bytes(8 * MIB));
  await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', at('target.qcow2'), '8M']);
  await using receiver = await startReceiver({ folder: folder.path, target: at('target.qcow2') });
  const place = ['--progress', 'json', '--ticket-file', receiver.ticketFile, at('disk.img')];
  await using sender = await startSender([...BLOCK, '--bwlimit', '4M', ...place]);
  await until('some durable blocks', async () => (await receiver.durableCount()) > 20);
  await receiver.end('SIGKILL');
  await receiver.start();
  assert((await receiver.durableCount()) > 20);
  const done = doneOf(await bounded('the copy', sender.ended));
  assert.equal(done.blocksTotal, 128);
  assert.equal((await receiver.end('SIGTERM')).status, 0);
  await compare(at('disk.img'), at('target.qcow2'));
});

test('a qemu-nbd that is killed in the middle is started again, and nothing is lost', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('disk.img'), prng(seed).bytes(8 * MIB));
  await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', at('target.qcow2'), '8M']);
  const env = { TMPDIR: folder.path };
  await using receiver = await startReceiver({ folder: folder.path, target: at('target.qcow2'), env });
  const [socket = ''] = globSync(at('ddt-nbd-*/socket/nbd'));
  assert.notEqual(socket, '');
  const place = ['--progress', 'json', '--ticket-file', receiver.ticketFile, at('disk.img')];
  await using sender = await startSender([...BLOCK, '--bwlimit', '4M', ...place]);
  await until('some durable blocks', async () => (await receiver.durableCount()) > 20);
  await runOk('pkill', ['-KILL', '--full', `^qemu-nbd --socket ${socket}`]);
  await receiver.process.waitForLine(/warning: .*target\.qcow2 is gone: .*; trying again/);
  await receiver.process.waitForLine(/target\.qcow2 is back after /);
  assert(doneOf(await bounded('the copy', sender.ended)).blocksSent >= 128);
  assert.equal((await receiver.end('SIGTERM')).status, 0);
  assert.doesNotMatch(receiver.process.stderr, /keeps all rights/, 'it could connect again without them');
  assert.deepEqual(globSync(at('ddt-nbd-*')), [], 'the folder of the socket');
  await compare(at('disk.img'), at('target.qcow2'));
});

test(
  'both sides end when they are asked to, and their servers, though these do not answer',
  { skip },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using folder = await tempDir();
    const at = (name: string): string => join(folder.path, name);
    await makeDisk(at('disk.img'));
    await runOk('qemu-img', ['convert', '-O', 'qcow2', at('disk.img'), at('source.qcow2')]);
    await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', at('target.qcow2'), String(DISK_BYTES)]);
    const env = { TMPDIR: folder.path };
    await using receiver = await startReceiver({ folder: folder.path, target: at('target.qcow2'), env });
    const place = ['--ticket-file', receiver.ticketFile, at('source.qcow2')];
    await using sender = await startSender([...BLOCK, '--bwlimit', '1M', ...place], env);
    await until('some durable blocks', async () => (await receiver.durableCount()) > 4);
    // As while Ceph does not answer.
    await runOk('pkill', ['-STOP', '--full', `^qemu-nbd --socket ${folder.path}`]);
    sender.kill('SIGINT');
    assert.equal((await bounded('the sender', sender.ended)).status, 130);
    assert.equal((await receiver.end('SIGTERM')).status, 143);
    await until('the end of the servers', () => globSync(at('ddt-nbd-*')).length === 0);
  },
);

test(
  'nothing is written to an image that holds something, is too small, or may be meant otherwise',
  { skip },
  async () => {
    await using folder = await tempDir();
    const at = (name: string): string => join(folder.path, name);
    await makeDisk(at('disk.img'));
    await runOk('qemu-img', ['convert', '-O', 'qcow2', at('disk.img'), at('full.qcow2')]);
    await copyFile(at('full.qcow2'), at('hidden.img'));
    await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', at('small.qcow2'), '4M']);
    const refused = async (target: string, ...options: readonly string[]): Promise<string> => {
      const ended = await runReceiver([
        '--listen',
        '127.0.0.1:0',
        '--state-dir',
        at('s'),
        ...options,
        at(target),
      ]);
      assert.equal(ended.status, 4, ended.stderr);
      return ended.stderr;
    };
    assert.match(await refused('full.qcow2'), /it is not empty: data of an unknown kind/);
    assert.match(
      await refused('hidden.img', '--overwrite-target'),
      /begins as a qcow2 image.*\n.*--format raw/,
    );
    assert.match(await refused('new.qcow2'), /does not exist\n.*qemu-img create -f qcow2 /);
    assert.match(await refused('disk.img', '--format', 'vdi'), /is not a vdi image/);
    await using receiver = await startReceiver({ folder: folder.path, target: at('small.qcow2') });
    const ended = await runSender(['--ticket-file', receiver.ticketFile, at('hidden.img')]);
    assert.deepEqual([ended.status, /begins as a qcow2 image/.test(ended.stderr)], [4, true], ended.stderr);
    const sent = await runSender(['--ticket-file', receiver.ticketFile, at('disk.img')]);
    assert.equal(sent.status, 4);
    assert.match(sent.stderr, /small\.qcow2 at \S+ is too small: it has 4194304 bytes/);
  },
);

test('a copy of bytes resumes as one, although its first block makes it an image', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await makeDisk(at('disk.img'));
  await runOk('qemu-img', ['convert', '-O', 'qcow2', at('disk.img'), at('source.qcow2')]);
  await using receiver = await startReceiver({ folder: folder.path, target: at('bytes.img') });
  const raw = ['--format', 'raw', '--ticket-file', receiver.ticketFile, at('source.qcow2')];
  const kept = await runSender([...BLOCK, '--keep-open', ...raw]);
  assert.equal(kept.status, 3, kept.stderr);
  assert.equal((await receiver.end('SIGTERM')).status, 143);
  await receiver.start();
  await sendAll(...raw);
  await assertEqualFiles(at('source.qcow2'), at('bytes.img'));
});
