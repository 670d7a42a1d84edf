/** One command at the target: the source is on a machine that ssh reaches, through a real sshd. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { FarMachine, PULL_NOWHERE, assertNothingLeft, writeProgram } from '../support/far-machine.ts';
import { MIB, assertEqualFiles, bounded, until } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk, type Ended } from '../support/run.ts';
import { FAR, NEAR, TwoMachines, skipUnlessNamespaces } from '../support/two-machines.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const QUESTION = /overwrite all of \S+target\? \[y\/N\] /;
const END_MS_MAX = 60_000;

async function assertCopied(machine: FarMachine, { status, stderr }: Ended): Promise<string> {
  assert.equal(status, 0, stderr);
  await assertEqualFiles(machine.source, machine.target);
  await assertNothingLeft(machine);
  return stderr;
}

void suite('one command at the target', { skip, concurrency: 3 }, () => {
  test('the sender there connects straight to the port, and leaves nothing', async () => {
    await using machine = await FarMachine.withSource(4 * MIB);
    const ended = await machine.pull();
    const said = await assertCopied(machine, ended);
    for (const line of [
      /^login {4}loopback: Linux \S+, root$/m,
      /^source {3}\S+source: /m,
      /^line {5}straight to 127\.0\.0\.1:\d+$/m,
      /^target {3}\S+target at \S+: /m,
      /^receipt {2}sealed \S+, root sha256:/m,
      /^left {5}nothing at loopback$/m,
    ]) {
      assert.match(said, line);
    }
    assert.match(ended.stdout, /durable, read back and equal/);
    assert.equal(await machine.logins(), 2, 'one of the test, and one of the run');
  });

  test('where the port is closed, each connection has a login of its own', async () => {
    await using machine = await FarMachine.withSource(24 * MIB);
    const said = await assertCopied(machine, await machine.pull(...PULL_NOWHERE));
    assert.match(said, /^line {5}through ssh: TCP \d+ of the receiver cannot be reached$/m);
    assert((await machine.logins()) >= 2 + 8, await machine.log());
    assert.doesNotMatch(await machine.log(), /MaxStartups|drop connection/);
    assert.doesNotMatch(said, /warning/);
  });

  test('where nothing is forwarded, the program there passes it on', async () => {
    await using machine = await FarMachine.withSource(4 * MIB, { server: ['AllowTcpForwarding no'] });
    await assertCopied(machine, await machine.pull(...PULL_NOWHERE, '--connections', '3'));
    assert.equal(await machine.logins(), 2 + 2 * 3, 'each connection is tried once before');
  });

  test('the ticket is on no command line', async () => {
    await using machine = await FarMachine.withSource(8 * MIB);
    const run = await machine.startPull([...PULL_NOWHERE, '--bwlimit', '4M', '--compress', 'none']);
    await run.waitForLine(/^line {5}through ssh/);
    const titles = (await machine.processes(/./)).map(({ title }) => title);
    assert(
      titles.some((title) => /^ddt-send: .*source$/.test(title)),
      titles.join('\n'),
    );
    assert(!titles.some((title) => /ddt1\.|pin=/.test(title)), titles.join('\n'));
    await assertCopied(machine, await bounded('the run', run.ended, END_MS_MAX));
  });

  test('the program is brought, and removed at the end, unless it is kept', async () => {
    await using machine = await FarMachine.withSource(MIB);
    const program = ['--program', await writeProgram(machine)];
    const kept = await machine.pull(...program, '--keep');
    assert.equal(kept.status, 0, kept.stderr);
    assert.match(kept.stderr, /^program {2}bringing dd-transfer 0\S+, \d+ bytes, compressed, to loopback$/m);
    assert.match(kept.stderr, /^left {5}at loopback: \S+\/bin\/[0-9a-f]{64}$/m);
    assert.equal((await readdir(join(machine.base, 'bin'))).length, 1);
    await runOk('rm', ['-r', machine.base]);
    const again = await machine.pull(...program, '--update');
    assert.match(await assertCopied(machine, again), /^left {5}nothing at loopback$/m);
  });
});

void suite('logins to the machine of the source', { skip, concurrency: 3 }, () => {
  test('where each login asks a question, it is asked once', async () => {
    await using machine = await FarMachine.withSource(MIB);
    const key = join(machine.folder, 'ssh/user-key');
    const [asked, answer] = ['asked', 'answer'].map((name) => join(machine.folder, name));
    await runOk('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'open sesame', '-f', key]);
    const script = `#!/bin/sh\necho asked >>'${asked}'\necho 'open sesame'\n`;
    await writeFile(answer ?? '', script, { mode: 0o755 });
    const config = await readFile(machine.configFile, 'utf8');
    await writeFile(machine.configFile, config.replace('BatchMode yes', ''));
    const env = { SSH_ASKPASS: answer, SSH_ASKPASS_REQUIRE: 'force' };
    const said = await assertCopied(machine, await machine.pullIn(env, ...PULL_NOWHERE));
    assert.equal([...said.matchAll(/warning: all connections share one of ssh, since it asks/g)].length, 1);
    assert.equal(await readFile(asked ?? '', 'utf8'), 'asked\n');
  });

  test('behind a jump host, everything goes through it', async () => {
    await using jump = await FarMachine.make();
    await using machine = await FarMachine.withSource(MIB);
    await machine.jumpOver(jump);
    const before = await jump.logins();
    await assertCopied(machine, await machine.pull(...PULL_NOWHERE));
    const [through, logins] = [await jump.logins(), await machine.logins()];
    assert.equal(through - before, logins - 1, 'each login but that of the test');
  });
});

void suite('targets that are not empty', { skip, concurrency: 3 }, () => {
  test('a target that is not empty is refused where nobody can be asked', async () => {
    await using machine = await FarMachine.withSource(MIB);
    await writeFile(machine.target, 'a letter');
    const { status, stderr } = await machine.pull();
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot write to \S+target .*: it is not empty: /m);
    assert.match(stderr, /hint: add --overwrite-target if all of that may be destroyed$/m);
    assert.equal(await readFile(machine.target, 'utf8'), 'a letter');
    await assertNothingLeft(machine);
    await assertCopied(machine, await machine.pull('--overwrite-target'));
  });

  for (const [keys, wanted] of [
    ['y\n', 0],
    ['n\n', 4],
  ] as const) {
    test(`both disks are shown before the question: ${keys.trim()}`, async () => {
      await using machine = await FarMachine.withSource(MIB);
      await writeFile(machine.target, 'a letter');
      await using terminal = await machine.startPullOnTerminal();
      await until('the question', () => QUESTION.test(terminal.stdout));
      assert.match(terminal.stdout, /^source {3}\S+source: .*\r\n(.*\n)*note {5}cannot write to \S+target/m);
      terminal.stdin.write(keys);
      const { status, stdout } = await bounded('the run', terminal.ended, END_MS_MAX);
      assert.equal(status, wanted, stdout);
      if (wanted === 0) {
        // The live line is that of the sender there.
        assert.match(stdout, /100 %.* verified/);
        await assertEqualFiles(machine.source, machine.target);
      } else assert.equal(await readFile(machine.target, 'utf8'), 'a letter');
      await assertNothingLeft(machine);
    });
  }
});

void suite('two machines', { skip: skip || skipUnlessNamespaces || unlessInstalled('iptables') }, () => {
  for (const isOpen of [true, false]) {
    test(`a port that is ${isOpen ? 'open' : 'closed'} in the firewall`, async () => {
      await using machines = await TwoMachines.make();
      const [far, near] = [machines.under('far'), machines.under('near')];
      await using machine = await FarMachine.withSource(4 * MIB, { elsewhere: { address: FAR, far, near } });
      if (!isOpen) {
        const rule = ['iptables', '-A', 'INPUT', '-i', 'line', '-p', 'tcp', '--dport', '8443', '-j', 'DROP'];
        await runOk(near[0] ?? '', [...near.slice(1), ...rule]);
      }
      const run = await machine.startPull(['--listen', ':8443'], near);
      const said = await assertCopied(machine, await bounded('the run', run.ended, END_MS_MAX));
      const way = isOpen
        ? `straight to ${NEAR}:8443`
        : 'through ssh: TCP 8443 of the receiver cannot be reached';
      assert(said.includes(`\nline     ${way}\n`), said);
      assert(!existsSync(machine.base));
    });
  }
});
