/** Source and target on one machine: never the same bytes, under whatever names. */
import assert from 'node:assert/strict';
import { symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  loopDevice,
  mounted,
  partition,
  skipUnlessLoop,
  skipUnlessPartitions,
} from '../support/loop-device.ts';
import { MIB, runSender, sendAll, sha256sum, startReceiver } from '../support/processes.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const needsLoop = { skip: skipUnlessLoop };
const needsPartitions = { skip: skipUnlessPartitions };
const SAME = 'they are the same disk';

/** The sender ends with 4 and this reason, has claimed nothing, and the target is as it was. */
async function assertRefused(
  source: string,
  target: string,
  reason: string,
  ...more: readonly string[]
): Promise<void> {
  await using folder = await tempDir();
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder: folder.path, target, options });
  const before = await sha256sum(target);
  const ended = await runSender([...more, '--ticket-file', receiver.ticketFile, source]);
  assert.equal(ended.status, 4, ended.stderr);
  const sentence = `ddt-send: error: cannot send ${source} to ${target}: ${reason}\n`;
  assert(ended.stderr.includes(sentence), ended.stderr);
  assert.equal((await receiver.status()).state, 'unclaimed');
  assert.equal(await sha256sum(target), before);
}

test('a device is not sent to itself, by no other name, nor is the file behind it', needsLoop, async () => {
  await using folder = await tempDir();
  await using device = await loopDevice(8 * MIB);
  const link = join(folder.path, 'by-another-name');
  await symlink(device.path, link);
  await assertRefused(device.path, device.path, SAME);
  await assertRefused(link, device.path, SAME);
  await assertRefused(device.path, link, SAME);
  await assertRefused(device.backingFile, device.path, SAME);
});

test('a file is not sent to itself', async () => {
  await using folder = await tempDir();
  const [path, link] = [join(folder.path, 'disk.img'), join(folder.path, 'link')];
  await writeFile(path, Buffer.alloc(MIB, 1));
  await runOk('ln', [path, link]);
  await assertRefused(path, path, SAME, '--yes');
  await assertRefused(path, path, SAME, '--dry-run');
  await assertRefused(link, path, SAME);
});

test('a partition is not sent to its own disk', needsPartitions, async () => {
  await using device = await loopDevice(32 * MIB);
  const [first] = await partition(device.path, 'gpt');
  await assertRefused(first, device.path, 'the source is part of the target');
});

test('a partition is sent to another one of the same disk', needsPartitions, async () => {
  await using folder = await tempDir();
  await using device = await loopDevice(32 * MIB);
  const [first, second] = await partition(device.path, 'gpt');
  await writeFile(first, Buffer.alloc(8 * MIB, 7));
  await using receiver = await startReceiver({ folder: folder.path, target: second });
  await sendAll('--ticket-file', receiver.ticketFile, first);
  assert.equal((await run('cmp', ['--bytes', String(8 * MIB), first, second])).status, 0);
});

test('a disk is not sent into a file that lies on it', needsLoop, async () => {
  await using device = await loopDevice(32 * MIB);
  await runOk('mkfs.ext4', ['-q', device.path]);
  await using view = await mounted(device.path);
  const target = join(view.path, 'copy.img');
  await writeFile(target, '');
  await truncate(target, MIB);
  await assertRefused(device.path, target, 'the target is part of the source');
  await assertRefused(device.backingFile, target, 'the target is part of the source');
});

test('what is told of the places of the target says nothing to others', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target');
  await using one = await startReceiver({ folder: folder.path, target });
  const first = (await one.status()).targetMarks;
  await one.end('SIGTERM');
  await one.start({ options: ['--discard-transfer', '--yes'] });
  const second = (await one.status()).targetMarks;
  for (const mark of [...first.itself, ...first.within]) assert.match(mark, /^[0-9a-f]{64}$/);
  assert.equal(first.itself.length, 1);
  const shared = [...first.itself, ...first.within].filter((mark) => second.itself.includes(mark));
  assert.deepEqual(shared, [], 'another transfer, other marks');
});
