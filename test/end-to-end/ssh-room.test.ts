/** A program that cannot be put on the far machine, or must not be run there. */
import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { FarMachine, assertNothingLeft, writeProgram } from '../support/far-machine.ts';
import { MIB } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');

async function make(): Promise<FarMachine> {
  return await FarMachine.withSource(MIB);
}

/** A small file system in place of the base folder, until the end. */
async function mountBase(machine: FarMachine, options: string): Promise<AsyncDisposable> {
  await mkdir(machine.base);
  await runOk('mount', ['-t', 'tmpfs', '-o', `${options},mode=755`, 'tmpfs', machine.base]);
  return { [Symbol.asyncDispose]: async () => void (await runOk('umount', ['--lazy', machine.base])) };
}

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
