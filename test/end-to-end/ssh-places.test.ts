/** What is brought to the far machine, where it has no room, what it refuses, and what is left there. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { programTrailer } from '../../common/program/program.ts';
import { FarMachine, NOWHERE, assertNothingLeft } from '../support/far-machine.ts';
import { MIB, SCRIPTS, assertEqualFiles, bounded, runReceiver, until } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const QUESTION = /overwrite all of \S+target at loopback\? \[y\/N\] /;

async function make(): Promise<FarMachine> {
  return await FarMachine.withSource(MIB);
}

/** What stands for the one file: it is called in the same way, and runs the code of this checkout. */
async function writeProgram(machine: FarMachine, body = ''): Promise<string> {
  const path = join(machine.folder, 'ddt-linux');
  const receive = `${SCRIPTS}/ddt-receive`;
  const script = `#!/bin/sh\n${body}\n[ "$1" != receive ] || shift\nexec '${receive}' "$@"\n`;
  const architecture = process.arch === 'arm64' ? 'arm64' : 'x64';
  await writeFile(path, Buffer.concat([Buffer.from(script), programTrailer(architecture)]), { mode: 0o755 });
  return path;
}

/** A small file system in place of the base folder, until the end. */
async function mountBase(machine: FarMachine, options: string): Promise<AsyncDisposable> {
  await mkdir(machine.base);
  await runOk('mount', ['-t', 'tmpfs', '-o', `${options},mode=755`, 'tmpfs', machine.base]);
  return { [Symbol.asyncDispose]: async () => void (await runOk('umount', ['--lazy', machine.base])) };
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

void suite('places without room, and no places', { skip, concurrency: 3 }, () => {
  test('a full file system there is named, and nothing is left on it', async () => {
    await using machine = await make();
    await using _base = await mountBase(machine, 'size=64k');
    const path = await writeProgram(machine, `: ${'x'.repeat(200_000)}`);
    const { status, stderr } = await machine.send('--program', path);
    assert.equal(status, 4, stderr);
    assert.match(stderr, /cannot be put into \S+\/base\/bin at loopback: .*No space left on device$/m);
    assert.deepEqual(await readdir(machine.base), []);
  });

  test('a file system there that runs no programs is named', async () => {
    await using machine = await make();
    await using _base = await mountBase(machine, 'noexec');
    const { status, stderr } = await machine.send('--program', await writeProgram(machine));
    assert.equal(status, 4, stderr);
    assert.match(stderr, /cannot be put into \S+\/base\/bin at loopback: it does not run there: .*denied$/m);
    assert.match(stderr, /hint: name another folder there with --remote-dir, /);
  });

  test('a program that is damaged on its way is not run', async () => {
    await using machine = await make();
    const path = await writeProgram(machine);
    // The far machine's sha256sum says what it has: here it has something else.
    const shell = `#!/bin/sh\nPATH='${machine.folder}/bin':$PATH exec sh -c "$SSH_ORIGINAL_COMMAND"\n`;
    await using damaging = await FarMachine.withSource(MIB, { shell });
    await mkdir(join(machine.folder, 'bin'));
    const gzip = '#!/bin/sh\n/usr/bin/gzip "$@" | tr x y\n';
    await writeFile(join(machine.folder, 'bin/gzip'), gzip, { mode: 0o755 });
    const { status, stderr } = await damaging.send('--program', path);
    assert.equal(status, 4, stderr);
    assert.match(stderr, /the program was damaged on its way$/m);
    await assertNothingLeft(damaging);
  });

  test('a file that is not the program of this version is refused', async () => {
    await using machine = await make();
    const { status, stderr } = await machine.send('--program', machine.source);
    assert.equal(status, 2, stderr);
    assert.match(stderr, /error: --program \S+ is not the ddt-linux-\w+ of this version$/m);
    await assertNothingLeft(machine);
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
