/** Partition tables count sectors, and a GPT wants its backup at the end of the disk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loopDevice, partition, skipUnlessPartitions } from '../support/loop-device.ts';
import { MIB, runSender, startReceiver } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = skipUnlessPartitions || unlessInstalled('sgdisk');

async function sendTo(target: string, source: string): Promise<Ended> {
  await using folder = await tempDir();
  await using receiver = await startReceiver({ folder: folder.path, target });
  const ended = await runSender(['--ticket-file', receiver.ticketFile, source]);
  assert.equal(ended.status, 0, ended.stderr);
  await receiver.end('SIGTERM');
  return ended;
}

test(
  'on a larger target the hint is the command that moves the backup GPT, and it works',
  { skip },
  async () => {
    for (const sectorBytes of [512, 4096]) {
      await using source = await loopDevice(32 * MIB, { sectorBytes });
      await using target = await loopDevice(48 * MIB, { sectorBytes });
      await partition(source.path, 'gpt');
      const { stderr } = await sendTo(target.path, source.path);
      assert.match(stderr, /^note {5}the last 16 MiB of the target stay as they are$/m);
      const command = /^ddt-send: hint: to move the backup GPT .*: (sgdisk -e \S+)$/m.exec(stderr)?.[1];
      assert.equal(command, `sgdisk -e ${target.path}`, stderr);
      assert.match(await runOk('sgdisk', ['-v', target.path]), /backup|secondary/i);
      await runOk('sh', ['-c', command]);
      assert.match(await runOk('sgdisk', ['-v', target.path]), /No problems found/);
    }
  },
);

test('nothing has to be moved on a target of the same size, or without a GPT', { skip }, async () => {
  await using gpt = await loopDevice(32 * MIB);
  await using dos = await loopDevice(32 * MIB);
  await using same = await loopDevice(32 * MIB);
  await using larger = await loopDevice(48 * MIB);
  await partition(gpt.path, 'gpt');
  await partition(dos.path, 'dos');
  assert.doesNotMatch((await sendTo(same.path, gpt.path)).stderr, /sgdisk|warning/);
  assert.doesNotMatch((await sendTo(larger.path, dos.path)).stderr, /sgdisk|warning/);
});

test('sectors of another size are warned of: the partitions would not be found', { skip }, async () => {
  await using small = await loopDevice(32 * MIB);
  await using large = await loopDevice(32 * MIB, { sectorBytes: 4096 });
  await partition(small.path, 'gpt');
  const warning =
    `ddt-send: warning: ${small.path} has sectors of 512 bytes, ${large.path} has sectors of 4096: ` +
    'partitions will not be found on the target\n';
  const { stderr } = await sendTo(large.path, small.path);
  assert(stderr.includes(warning), stderr);
  assert.equal((await run('cmp', [small.path, large.path])).status, 0);
});
