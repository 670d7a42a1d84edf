/** One command: the target is on a machine that ssh reaches, through a real sshd. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { suite, test } from 'node:test';
import { FarMachine, NOWHERE } from '../support/far-machine.ts';
import { MIB, assertEqualFiles } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');

async function writeRandom(path: string, bytes: number): Promise<void> {
  await runOk('sh', ['-c', 'head -c "$1" /dev/urandom >"$2"', 'sh', String(bytes), path]);
}

async function withSource(machine: FarMachine, bytes = 4 * MIB): Promise<FarMachine> {
  await writeRandom(machine.source, bytes);
  return machine;
}

/** What shows that a run left nothing behind. */
async function assertNothingLeft(machine: FarMachine): Promise<void> {
  assert.deepEqual(await machine.processes(/ddt-receive|^ssh[: ]/), []);
  assert(!existsSync(machine.base), 'the base folder is gone');
}

suite('one command', { skip, concurrency: 4 }, () => {
  test('it copies straight to the port, and leaves nothing', async () => {
    await using machine = await withSource(await FarMachine.make());
    const { status, stderr, stdout } = await machine.send();
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^line {5}straight to 127\.0\.0\.1:\d+$/m);
    assert.match(stderr, /^left {5}nothing at loopback$/m);
    assert.match(stdout, /durable, read back and equal/);
    await assertEqualFiles(machine.source, machine.target);
    assert.equal(await machine.logins(), 2, 'one of the test, and one of the run');
    await assertNothingLeft(machine);
  });

  test('where the port is closed, each connection has a login of its own', async () => {
    await using machine = await withSource(await FarMachine.make(), 24 * MIB);
    const { status, stderr } = await machine.send(...NOWHERE, '--connections', '12');
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^line {5}through ssh to loopback: TCP \d+ cannot be reached$/m);
    await assertEqualFiles(machine.source, machine.target);
    assert((await machine.logins()) >= 2 + 12, await machine.log());
    assert.doesNotMatch(await machine.log(), /MaxStartups|drop connection/);
    await assertNothingLeft(machine);
  });

  test('where nothing is forwarded, the program there passes it on', async () => {
    const machine = await FarMachine.make({ server: ['AllowTcpForwarding no'] });
    await using _machine = await withSource(machine);
    const { status, stderr } = await machine.send(...NOWHERE);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^line .* through ssh to loopback, whose server forwards no ports: /m);
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });
});
