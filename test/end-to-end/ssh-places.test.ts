/** What is brought to the far machine, what it refuses, and what is left there. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { FarMachine, NOWHERE, assertNothingLeft, writeProgram } from '../support/far-machine.ts';
import { MIB, assertEqualFiles, bounded, runReceiver, runSender, until } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk, type Ended } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const QUESTION = /overwrite all of \S+target at loopback\? \[y\/N\] /;

async function make(): Promise<FarMachine> {
  return await FarMachine.withSource(MIB);
}

void suite('places', { skip, concurrency: 3 }, () => {
  test('the program is brought once, used again, and removed at the end', async () => {
    await using machine = await make();
    const program = ['--program', await writeProgram(machine)];
    const first = await machine.send(...program, '--keep-open', ...NOWHERE);
    assert.equal(first.status, 3, first.stderr);
    assert.match(first.stderr, /^program {2}bringing dd-transfer 0\S+, \d+ bytes, compressed, to loopback$/m);
    const [name = ''] = await readdir(join(machine.base, 'bin'));
    assert.equal(`${name}  -\n`, await runOk('sh', ['-c', `sha256sum <'${machine.base}/bin/${name}/ddt'`]));
    const second = await machine.send(...program, ...NOWHERE);
    assert.equal(second.status, 0, second.stderr);
    assert.doesNotMatch(second.stderr, /^program/m);
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });

  test('a large program is brought over several logins, and is the same there', async () => {
    await using machine = await make();
    const program = ['--program', await writeProgram(machine, '', 20 * MIB)];
    const { status, stderr } = await machine.send(...program);
    assert.equal(status, 0, stderr);
    // The login of the test; the first one, one that is tried for parts and one for the way; three parts.
    assert.equal(await machine.logins(), 1 + 3 + 3, await machine.log());
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });

  test('two runs that bring the program at the same time do not disturb each other', async () => {
    await using machine = await make();
    const program = ['--program', await writeProgram(machine, 'sleep 0.2'), '--keep'];
    const targets = ['one', 'other'].map((name) => join(machine.folder, 'disks', name));
    const runs = targets.map(async (target) => await runSender(machine.words(program, target)));
    for (const { status, stderr } of await Promise.all(runs)) assert.equal(status, 0, stderr);
    for (const target of targets) await assertEqualFiles(machine.source, target);
  });

  test('where nothing is known of a copy, comparing does not advise to overwrite', async () => {
    await using machine = await make();
    await writeFile(machine.target, 'something');
    for (const option of ['--check', '--update']) {
      const { status, stderr } = await machine.send(option);
      assert.equal(status, 4, stderr);
      assert.match(stderr, /error: no copy is known on \S+ at loopback: it was made without --keep$/m);
      assert.doesNotMatch(stderr, /--overwrite-target/);
    }
    const dry = await machine.send('--dry-run');
    assert.equal(dry.status, 3, dry.stderr);
    await assertNothingLeft(machine);
  });

  test('with --keep, what was brought stays, and --update uses it', async () => {
    await using machine = await make();
    const program = ['--program', await writeProgram(machine)];
    const first = await machine.send(...program, '--keep');
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stderr, /^left {5}at loopback: \S+\/ssh\/[0-9a-f]{16}, \S+\/bin\/[0-9a-f]{64}$/m);
    await runOk('sh', ['-c', `printf changed | dd of='${machine.source}' conv=notrunc status=none`]);
    const differs = await machine.send(...program, '--keep');
    assert.equal(differs.status, 3, differs.stderr);
    const update = await machine.send(...program, '--update', '--progress', 'json');
    assert.equal(update.status, 0, update.stderr);
    assert.match(update.stdout, /"blocksSent":1,/);
    await assertEqualFiles(machine.source, machine.target);
    assert(existsSync(join(machine.base, 'bin')), 'an earlier run was to keep it');
    assert.deepEqual(await machine.receivers(), []);
  });
});

void suite('targets that are not empty', { skip, concurrency: 3 }, () => {
  test('a target that is not empty is refused where nobody can be asked', async () => {
    await using machine = await make();
    await writeFile(machine.target, 'a letter');
    const { status, stderr } = await machine.send();
    assert.equal(status, 4, stderr);
    assert.match(
      stderr,
      /error: the receiver at loopback says: cannot write to \S+target .*: it is not empty: /m,
    );
    assert.match(stderr, /\(add --overwrite-target if all of that may be destroyed\)$/m);
    await assertNothingLeft(machine);
    const allowed = await machine.send('--overwrite-target');
    assert.equal(allowed.status, 0, allowed.stderr);
    await assertEqualFiles(machine.source, machine.target);
  });

  for (const [keys, wanted] of [
    ['y\n', 0],
    ['n\n', 4],
  ] as const) {
    test(`the question before content is destroyed is asked here, once: ${keys.trim()}`, async () => {
      await using machine = await make();
      await writeFile(machine.target, 'a letter');
      await using terminal = await machine.startOnTerminal();
      await until('the question', () => QUESTION.test(terminal.stdout));
      assert.deepEqual(await machine.receivers(), [], 'nothing waits meanwhile');
      terminal.stdin.write(keys);
      const { status, stdout } = await bounded('the sender', terminal.ended, 60_000);
      assert.equal(status, wanted, stdout);
      assert.equal([...stdout.matchAll(new RegExp(QUESTION, 'g'))].length, 1);
      if (wanted === 0) await assertEqualFiles(machine.source, machine.target);
      else assert.equal(await runOk('cat', [machine.target]), 'a letter');
      await assertNothingLeft(machine);
    });
  }

  test('--check and --dry-run leave nothing running, and what there was', async () => {
    await using machine = await make();
    const dry = await machine.send('--dry-run');
    assert.equal(dry.status, 3, dry.stderr);
    await assertNothingLeft(machine);
    const kept = await machine.send('--keep');
    assert.equal(kept.status, 0, kept.stderr);
    const check = await machine.send('--check');
    assert.equal(check.status, 0, check.stderr);
    assert.deepEqual(await machine.receivers(), []);
    assert(existsSync(machine.base));
  });

  test('the receiver that a relay is to reach must be there', async () => {
    const { status, stderr } = await runReceiver(['--relay', '127.0.0.1:1']);
    assert.equal(status, 6);
    assert.match(stderr, /connect failed: no receiver at 127\.0\.0\.1:1: connection refused$/m);
  });
});

test('of a file there, name and content decide what is meant, or the one who copies', { skip }, async () => {
  await using machine = await make();
  const target = join(machine.folder, 'disks/disk.qcow2');
  const send = async (...more: string[]): Promise<Ended> => await runSender(machine.words(more, target));
  const refused = await send();
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(
    refused.stderr,
    /cannot use \S+disk\.qcow2 as a qcow2 image: it does not exist \(.*: --target-format raw\)/,
  );
  const { status, stderr } = await send('--target-format', 'raw');
  assert.equal(status, 0, stderr);
  await assertEqualFiles(machine.source, target);
  const back = await machine.pullFrom(target);
  assert.equal(back.status, 4, back.stderr);
  assert.match(
    back.stderr,
    /cannot use \S+disk\.qcow2 as a qcow2 image: it is not .*\n.*: --source-format raw\n/,
  );
  const pulled = await machine.pullFrom(target, '--source-format', 'raw');
  assert.equal(pulled.status, 0, pulled.stderr);
  await assertEqualFiles(machine.source, machine.target);
  await assertNothingLeft(machine);
});
