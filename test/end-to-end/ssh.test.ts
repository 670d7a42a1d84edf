/** One command: the target is on a machine that ssh reaches, through a real sshd. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { suite, test } from 'node:test';
import { FarMachine, NOWHERE, assertNothingLeft } from '../support/far-machine.ts';
import { MIB, assertEqualFiles } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');

void suite('one command', { skip, concurrency: 3 }, () => {
  test('it copies straight to the port, and leaves nothing', async () => {
    await using machine = await FarMachine.withSource(4 * MIB);
    const { status, stderr, stdout } = await machine.send();
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^line {5}straight to 127\.0\.0\.1:\d+$/m);
    assert.match(stderr, /^left {5}nothing at loopback$/m);
    assert.match(stdout, /durable, read back and equal/);
    await assertEqualFiles(machine.source, machine.target);
    assert.equal(await machine.logins(), 3, 'one of the test, one of the run, and one to try');
    await assertNothingLeft(machine);
  });

  test('where the port is closed, each connection has a login of its own', async () => {
    await using machine = await FarMachine.withSource(24 * MIB);
    const { status, stderr } = await machine.send(...NOWHERE, '--connections', '12');
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^line {5}through ssh to loopback: TCP \d+ cannot be reached$/m);
    await assertEqualFiles(machine.source, machine.target);
    assert((await machine.logins()) >= 2 + 12, await machine.log());
    assert.doesNotMatch(await machine.log(), /MaxStartups|drop connection/);
    await assertNothingLeft(machine);
  });

  test('where nothing is forwarded, the program there passes it on', async () => {
    await using machine = await FarMachine.withSource(4 * MIB, { server: ['AllowTcpForwarding no'] });
    const { status, stderr } = await machine.send(...NOWHERE);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^line .* through ssh to loopback, whose server forwards no ports: /m);
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });

  test('a port that takes connections and says nothing is given up after ten seconds', async () => {
    await using machine = await FarMachine.withSource(MIB);
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    using _silent = { [Symbol.dispose]: () => silent.close() };
    const { port } = silent.address() as AddressInfo;
    const { status, stderr } = await machine.send('--connect', `127.0.0.1:${port}`);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^line {5}through ssh to loopback: TCP \d+ cannot be reached$/m);
    await assertNothingLeft(machine);
  });
});
