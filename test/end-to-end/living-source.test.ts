/** A source that is used, written or resized while it is sent. */
import assert from 'node:assert/strict';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, mounted, mountedElsewhere, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  bounded,
  eventsOf,
  runSender,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { runOk, start, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const needsLoop = { skip: skipUnlessLoop };

/** Sends to a new file. */
async function sendToFile(source: string): Promise<Ended> {
  await using folder = await tempDir();
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  return await runSender(['--ticket-file', receiver.ticketFile, source]);
}

/** Sends to a new file, and does something when a part is there already. */
async function sendMeanwhile(source: string, meanwhile: () => Promise<unknown>): Promise<Ended> {
  await using folder = await tempDir();
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  await using relay = await Relay.start({ to: receiver, bytesPerSecond: 16 * MIB, holdAtBytes: 2 * MIB });
  const ticketFile = await writeTicketVia(receiver, relay, join(folder.path, 'via'));
  const options = ['--progress', 'json', '--block-size', '64KiB', '--ticket-file', ticketFile];
  await using sender = await startSender([...options, source]);
  await until('blocks to be durable', async () => (await receiver.durableCount()) > 0);
  await meanwhile();
  relay.release();
  const ended = await bounded('the sender to end', sender.ended);
  assert.equal((await receiver.status()).state, ended.status === 0 ? 'sealed' : 'open');
  return ended;
}

test(
  'a mounted source is named with advice and sent; mounted read-only it needs none',
  needsLoop,
  async () => {
    await using device = await loopDevice(8 * MIB);
    await runOk('mkfs.ext4', ['-q', device.path]);
    await using view = await mounted(device.path);
    const { status, stderr } = await sendToFile(device.path);
    assert.equal(status, 0, stderr);
    const warning = `ddt-send: warning: ${device.path} is in use: mounted on ${view.path}; the copy will be `;
    assert(stderr.includes(warning), stderr);
    const { path } = device;
    const hint = `ddt-send: hint: umount ${path}, or mount -o remount,ro ${path}, or send a snapshot of it\n`;
    assert(stderr.includes(hint), stderr);
    await runOk('mount', ['-o', 'remount,ro', view.path]);
    assert.doesNotMatch((await sendToFile(device.path)).stderr, /warning/);
  },
);

test('a source that only another mount namespace has mounted is named', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await using folder = await tempDir();
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using other = await mountedElsewhere(device.path, folder.path);
  const { status, stderr } = await sendToFile(device.path);
  assert.equal(status, 0, stderr);
  assert.match(stderr, new RegExp(`warning: .*mounted on \\S+ \\(as process ${other.pid} sees it\\); the`));
});

test('a source that is a swap area in use, or open for writing, is named', needsLoop, async () => {
  await using swap = await loopDevice(8 * MIB);
  await runOk('mkswap', [swap.path]);
  await runOk('swapon', [swap.path]);
  await using _area = { [Symbol.asyncDispose]: async () => void (await runOk('swapoff', [swap.path])) };
  const ended = await sendToFile(swap.path);
  assert.match(
    ended.stderr,
    /warning: (\S+) is in use: a swap area in use; .*\nddt-send: hint: swapoff \1$/m,
  );
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, Buffer.alloc(MIB, 1));
  await using writer = await start('sh', ['-c', 'exec 3<>"$0" && echo ready && exec cat', path]);
  await writer.waitForLine(/^ready$/);
  assert.match((await sendToFile(path)).stderr, /warning: \S+ is in use: open for writing in cat \(process/);
});

test('a free source is sent without a word', needsLoop, async () => {
  await using device = await loopDevice(MIB);
  const ended = await sendToFile(device.path);
  assert.deepEqual([ended.status, ended.stderr.match(/warning|hint/)], [0, null], ended.stderr);
});

for (const [change, sizeBytes] of [
  ['longer', 8 * MIB + 4096],
  ['shorter', 7 * MIB],
] as const) {
  test(
    `a source that becomes ${change} while it is sent ends with 5 and is not sealed`,
    needsLoop,
    async (t) => {
      t.diagnostic(`seed ${seed}`);
      await using device = await loopDevice(8 * MIB);
      await using folder = await tempDir();
      const file = join(folder.path, 'disk.img');
      for (const path of [file, device.path]) await writeFile(path, prng(seed).bytes(8 * MIB));
      for (const source of [file, device.path]) {
        const { status, stdout, stderr } = await sendMeanwhile(source, async () => {
          await truncate(source === file ? file : device.backingFile, sizeBytes);
          if (source !== file) await runOk('losetup', ['--set-capacity', device.path]);
        });
        assert.equal(status, 5, stderr);
        const { code, message } = eventsOf(stdout).at(-1) ?? {};
        assert.equal(code, 'source-changed', String(message));
        assert.match(
          stderr,
          /ddt-send: error: \S+ (had 8388608 bytes when|ends at \d+ now; it had 8388608 bytes)/,
        );
      }
    },
  );
}

test('a source that was written while it was sent is told of at the end', needsLoop, async () => {
  await using device = await loopDevice(8 * MIB);
  await writeFile(device.path, prng(seed).bytes(8 * MIB));
  await runOk('sync', [device.path]);
  const ended = await sendMeanwhile(device.path, async () => {
    await using disk = await open(device.path, 'r+');
    await disk.write(Buffer.alloc(512, 1), 0, 512, 0);
    await disk.sync();
  });
  assert.equal(ended.status, 0, ended.stderr);
  const warning = `warning: ${device.path} was written while it was copied: the copy is inconsistent\n`;
  assert(ended.stderr.includes(warning), ended.stderr);
});
