/** What the README and the guides show of a copy and its preparation, on real devices. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startLoopbackSsh } from '../../scripts/bench/loopback-ssh.ts';
import { readDocument, recipe, runScript } from '../support/documents.ts';
import { FarMachine, writeProgram } from '../support/far-machine.ts';
import { loopDevice, mounted, skipUnlessLoop } from '../support/loop-device.ts';
import { prng } from '../support/prng.ts';
import { MIB, assertEqualFiles, runSender, sha256sum, startReceiver } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skipSsh = unlessInstalled('ssh', 'sshd');

/** A line without the names, addresses, numbers and sizes that are different on every machine. */
function withoutNames(line: string): string {
  return line
    .replaceAll(/\d[\d.]* [KMGT]iB/g, '<size>')
    .replaceAll(/https:\/\/\S+/g, '<ticket>')
    .replaceAll(/(\/[\w.-]+)+/g, '<path>')
    .replaceAll(/\[?[\da-f:.]+\]?:\d+/g, '<address>')
    .replaceAll(/\d[\d.]*/g, '<number>')
    .replaceAll(/ +/g, ' ');
}

/** The lines that README.md shows: without what was typed, and the bar and the ticket of terminals. */
async function blocksOfReadme(): Promise<string[][]> {
  const blocks = [...(await readDocument('README.md')).matchAll(/^```\n(.*?)^```/gms)];
  return blocks.map(([, shown = '']) =>
    shown.split('\n').filter((line) => !/^$|^\w+# |^100 %|^run on |^ddt-send </.test(line)),
  );
}

function assertPrinted(lines: readonly string[], text: string): void {
  const printed = text.split('\n').map(withoutNames);
  for (const line of lines) assert(printed.includes(withoutNames(line)), `${line}\n${printed.join('\n')}`);
}

test('the sessions of README.md are what is printed', { skip: skipUnlessLoop || skipSsh }, async () => {
  await using source = await loopDevice(8 * MIB);
  await using target = await loopDevice(12 * MIB);
  await writeFile(source.path, prng(1).bytes(8 * MIB));
  const [bySsh = [], byHand = []] = await blocksOfReadme();
  assert(bySsh.length >= 7 && byHand.length >= 3, 'both are there');
  await using machine = await FarMachine.make();
  const program = await writeProgram(machine);
  const words = [...machine.words(['--program', program], target.path).slice(0, -2), source.path];
  const { status, stdout, stderr } = await runSender([...words, `loopback:${target.path}`]);
  assert.equal(status, 0, stderr);
  const names = (text: string): string =>
    text
      .replaceAll('root@vm', 'loopback')
      .replaceAll(/x86_64|aarch64/g, '')
      .replaceAll(/\d+ bytes,/g, '1 KiB,');
  assertPrinted(bySsh.map(names), names(`${stderr}\n${stdout}`));
  await using folder = await tempDir();
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder: folder.path, target: target.path, options });
  const empty = (text: string): string => text.replace(/(target .*MiB).*/, '$1, empty');
  assertPrinted(byHand, empty(receiver.process.stdout));
});

test('a frozen file system gives a consistent copy', { skip: skipUnlessLoop }, async () => {
  const script = await recipe('docs/guide/live-disks.md', 'freeze');
  assert((await readDocument('README.md')).includes(script), 'README.md has the same lines');
  await using folder = await tempDir();
  await using source = await loopDevice(16 * MIB);
  await using target = await loopDevice(16 * MIB);
  await runOk('mkfs.ext4', ['-q', source.path]);
  await using view = await mounted(source.path);
  await writeFile(join(view.path, 'data'), prng(2).bytes(4 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: target.path });
  const named = script.replaceAll('/srv', view.path).replaceAll('/dev/sdb', source.path);
  try {
    const { stdout, stderr } = await runScript(named, folder.path);
    assert.match(stdout, /durable, read back and equal/);
    assert.doesNotMatch(stdout, /^ddt-send:/m);
    assert.doesNotMatch(stderr, /was written/);
  } catch (error) {
    await runOk('fsfreeze', ['--unfreeze', view.path]).catch(() => {});
    throw error;
  }
  await receiver.end('SIGTERM');
  await runOk('e2fsck', ['-f', '-n', target.path]);
  await using copy = await mounted(target.path, ['-o', 'ro']);
  assert.equal(await sha256sum(join(copy.path, 'data')), await sha256sum(join(view.path, 'data')));
});

test(
  'a disk is copied live, and once more when its services are stopped',
  { skip: skipUnlessLoop },
  async () => {
    await using folder = await tempDir();
    await using source = await loopDevice(16 * MIB);
    await using target = await loopDevice(16 * MIB);
    await runOk('mkfs.ext4', ['-q', source.path]);
    const place = join(folder.path, 'srv');
    await mkdir(place);
    await runOk('mount', [source.path, place]);
    await writeFile(join(place, 'data'), prng(4).bytes(4 * MIB));
    await using receiver = await startReceiver({ folder: folder.path, target: target.path });
    const script = (await recipe('docs/guide/update.md', 'downtime'))
      .replace('systemctl stop postgresql', `date > ${place}/later`)
      .replace('umount /srv', `umount ${place}`)
      .replaceAll('/dev/sdc', source.path);
    try {
      const { stdout, stderr } = await runScript(script, folder.path);
      assert.match(stdout, /^pass .* not sealed$[^]*^done .* durable, read back and equal/m);
      assert.match(stdout, /^blocks {3}\d+ of \d+ blocks had changed/m);
      assert.match(stderr, /is in use/);
    } finally {
      await run('umount', [place]);
    }
    await receiver.end('SIGTERM');
    await assertEqualFiles(source.path, target.path);
  },
);

test('a copy goes through an ssh tunnel', { skip: skipSsh }, async () => {
  await using folder = await tempDir();
  await using stack = new AsyncDisposableStack();
  const [source, target] = ['disk.img', 'target.img'].map((name) => join(folder.path, name));
  assert(source !== undefined && target !== undefined);
  await writeFile(source, prng(3).bytes(8 * MIB));
  const config = await startLoopbackSsh(join(folder.path, 'ssh'), AbortSignal.timeout(60_000), stack);
  await using receiver = await startReceiver({ folder: folder.path, target });
  // Here both ends are one machine: the tunnel begins at another address of it than the receiver's.
  const { host, port } = receiver;
  await writeFile(receiver.ticketFile, receiver.ticket.replace(host, '127.0.0.1'));
  const control = ['-F', config, '-S', join(folder.path, 'control')];
  stack.defer(async () => void (await run('ssh', [...control, '-O', 'exit', 'loopback'])));
  const script = (await recipe('docs/guide/copying.md', 'tunnel'))
    .replace('8443:127.0.0.1:8443', `127.0.0.1:${port}:${host}:${port}`)
    .replace('ssh ', `ssh ${control.join(' ')} -M `)
    // It stays in the background, and would keep the output of this script open.
    .replace('root@vm', 'loopback >/dev/null 2>&1')
    .replace('/dev/sdc', source);
  assert.match((await runScript(script, folder.path)).stdout, /durable, read back and equal/);
  await assertEqualFiles(source, target);
});
