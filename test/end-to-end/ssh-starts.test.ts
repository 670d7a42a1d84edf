/** What a start at the far machine finds, refuses, and leaves: names of disks, options, programs, races. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { FarMachine, assertNothingLeft, writeProgram } from '../support/far-machine.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { MIB, assertEqualFiles, bounded, eventsOf, runSender } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk, type Ended, type Started } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const SOURCE_BYTES = 24 * MIB;
const SLOWLY = ['--bwlimit', '4M', '--progress', 'json', '--compress', 'none'];
const JSON_PROGRESS = ['--progress', 'json'];

async function make(bytes = MIB): Promise<FarMachine> {
  return await FarMachine.withSource(bytes);
}

/** Of the last event. */
function doneOf({ status, stdout, stderr }: Ended): Record<string, unknown> {
  assert.equal(status, 0, stderr);
  return eventsOf(stdout).at(-1) ?? {};
}

async function halfWay(sender: Started): Promise<void> {
  await sender.waitForLine(/"percent":[2-7]\d,.*"blocksDurable":[1-9]/);
}

/** A copy that was killed half way. */
async function abandoned(machine: FarMachine, ...words: readonly string[]): Promise<void> {
  const sender = await machine.startSend(...SLOWLY, ...words);
  await halfWay(sender);
  sender.kill('SIGKILL');
  await sender.ended;
}

async function killReceivers(machine: FarMachine): Promise<void> {
  for (const id of await machine.receivers()) process.kill(id, 'SIGKILL');
}

void suite('names', { skip: skip || skipUnlessLoop, concurrency: 2 }, () => {
  for (const [what, isKilled] of [
    ['its receiver, which waits', false],
    ['its record, after the receiver was killed', true],
  ] as const) {
    test(`a disk under another name is found: ${what}`, async () => {
      await using machine = await make(SOURCE_BYTES);
      await using device = await loopDevice(SOURCE_BYTES);
      const link = join(machine.folder, 'disks/by-id');
      await symlink(device.path, link);
      const place = machine.words(SLOWLY, device.path);
      await using sender = await machine.startWith(place);
      await halfWay(sender);
      sender.kill('SIGKILL');
      await sender.ended;
      // Its title names the disk, not the folder.
      const receiver = Number(await runOk('sh', ['-c', `cat '${machine.base}'/ssh/run-*/pid`]));
      assert(existsSync(`/proc/${receiver}`), 'it waits');
      if (isKilled) process.kill(receiver, 'SIGKILL');
      const done = doneOf(await runSender(machine.words(JSON_PROGRESS, link)));
      assert(Number(done['blocksSkipped']) > 0, JSON.stringify(done));
      // Nobody may have waited for it yet.
      assert.equal(await readFile(`/proc/${receiver}/cmdline`, 'utf8').catch(() => ''), '');
      await runOk('cmp', [machine.source, device.path]);
      await assertNothingLeft(machine);
    });
  }
});

void suite('options', { skip, concurrency: 2 }, () => {
  test('a receiver that waits and reads nothing back is not used by a run that has to prove', async () => {
    await using machine = await make(SOURCE_BYTES);
    await abandoned(machine, '--verify', 'none');
    const ended = await machine.send(...JSON_PROGRESS);
    const done = doneOf(ended);
    assert.equal(done['verified'], 'read-back');
    assert(Number(done['blocksSkipped']) > 0, JSON.stringify(done));
    await assertNothingLeft(machine);
  });

  test('a receiver that waits and reads back is not used by a run that wants none', async () => {
    await using machine = await make(SOURCE_BYTES);
    await abandoned(machine);
    const { status, stdout, stderr } = await machine.send(...JSON_PROGRESS, '--verify', 'none');
    assert.equal(status, 3, stderr);
    assert.equal(eventsOf(stdout).at(-1)?.['verified'], 'none');
  });

  test('starting over is refused once, with all that has to be said', async () => {
    await using machine = await make(SOURCE_BYTES);
    await abandoned(machine);
    await runOk('truncate', ['-s', '+1M', machine.source]);
    const over = ['--discard-transfer', '--overwrite-target', '--yes'];
    const first = await machine.send();
    assert.equal(first.status, 4, first.stderr);
    assert.match(first.stderr, /error: this target belongs to another transfer: its source has \d+ bytes/);
    const hint = 'hint: if the earlier transfer is not needed, run the same command again with';
    assert.match(first.stderr, new RegExp(`${hint} ${over.join(' ')}$`, 'm'));
    await killReceivers(machine);
    const second = await machine.send('--discard-transfer');
    assert.equal(second.status, 4, second.stderr);
    assert.match(
      second.stderr,
      /it is not empty: .*; and --discard-transfer would lose the progress of the transfer onto .* durable/,
    );
    assert.match(second.stderr, /\(add --overwrite-target and --yes if all of that may be destroyed\)$/m);
    const done = doneOf(await machine.send(...JSON_PROGRESS, ...over));
    assert.equal(done['blocksSkipped'], 0);
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });

  for (const option of ['--dry-run', '--probe', '--check']) {
    test(`${option} creates nothing`, async () => {
      await using machine = await make();
      await machine.send(option);
      assert.deepEqual(await readdir(join(machine.folder, 'disks')), ['source']);
      await assertNothingLeft(machine);
    });
  }
});

void suite('programs', { skip, concurrency: 2 }, () => {
  test('a program that is not there is named', async () => {
    await using machine = await make();
    const missing = join(machine.folder, 'no/ddt-receive');
    const { status, stderr } = await machine.send('--remote-program', missing);
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot start \S+no\/ddt-receive at loopback: there is no such program$/m);
    assert.match(stderr, /hint: name a ddt-receive there with --remote-program, or leave that out/);
    await assertNothingLeft(machine);
  });

  test('a program that is no receiver is named', async () => {
    await using machine = await make();
    const { status, stderr } = await machine.send('--remote-program', 'ls');
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot start ls at loopback: ls: unrecognized option '--log'$/m);
    await assertNothingLeft(machine);
  });

  test('a program that another run removes in the moment before the start is brought again', async () => {
    // Scripts come on standard input: the first one when the program is there is that of the start.
    const shell = `#!/bin/sh
here=$\{0%/*}
case $SSH_ORIGINAL_COMMAND in *'read -r n'*)
  if [ ! -e "$here/removed" ] && ls "$here"/base/bin/*/ddt >/dev/null 2>&1; then
    rm -rf "$here/base/bin"
    touch "$here/removed"
  fi ;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
`;
    await using machine = await FarMachine.withSource(MIB, { shell });
    const { status, stderr } = await machine.send('--program', await writeProgram(machine));
    assert.equal(status, 0, stderr);
    assert(existsSync(join(machine.folder, 'removed')));
    assert.equal([...stderr.matchAll(/^program {2}bringing /gm)].length, 2, stderr);
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });
});

void suite('targets', { skip, concurrency: 2 }, () => {
  test('a target that cannot be is refused before anything is brought', async () => {
    await using machine = await make();
    const program = ['--program', await writeProgram(machine)];
    for (const [target, reason] of [
      ['/dev/no-such-disk', 'there is no such device'],
      [join(machine.folder, 'no/disk.img'), `there is no folder ${machine.folder}/no`],
    ] as const) {
      const { status, stderr } = await runSender(machine.words(program, target));
      assert.equal(status, 4, stderr);
      assert.match(stderr, new RegExp(`error: cannot write to ${target} at loopback: ${reason}$`, 'm'));
      assert.doesNotMatch(stderr, /^program/m);
    }
    await assertNothingLeft(machine);
  });

  test('a disk that is too small or mounted is refused likewise', { skip: skipUnlessLoop }, async () => {
    await using machine = await make(2 * MIB);
    const program = ['--program', await writeProgram(machine)];
    await using small = await loopDevice(MIB);
    const tooSmall = await runSender(machine.words(program, small.path));
    assert.equal(tooSmall.status, 4, tooSmall.stderr);
    assert.match(tooSmall.stderr, /error: \/dev\/loop\d+ at loopback is too small: it has 1048576 bytes, /);
    await using disk = await loopDevice(8 * MIB);
    await runOk('mkfs.ext4', ['-q', disk.path]);
    const mountPoint = join(machine.folder, 'tmp');
    await runOk('mount', [disk.path, mountPoint]);
    try {
      const inUse = await bounded('the sender', runSender(machine.words(program, disk.path)));
      assert.equal(inUse.status, 4, inUse.stderr);
      assert.match(inUse.stderr, new RegExp(`: it is mounted, or a part of it, on ${mountPoint}$`, 'm'));
      assert.doesNotMatch(inUse.stderr, /^program/m);
    } finally {
      await runOk('umount', [mountPoint]);
    }
    await assertNothingLeft(machine);
  });
});
