/** A server that blocks addresses which fail: no copy gets us blocked, however it goes wrong. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { FarMachine, NOWHERE, assertNothingLeft } from '../support/far-machine.ts';
import { newerSshd, unlessNewerSshd } from '../support/newer-sshd.ts';
import { MIB, assertEqualFiles, bounded } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen') || unlessNewerSshd;
const SLOWLY = ['--bwlimit', '4M', '--progress', 'json', '--compress', 'none'];
const END_MS_MAX = 90_000;
/** What sshd says of an address that it has blocked. */
const BLOCKED = /drop connection .* penalty|penalty: /i;

async function assertNotBlocked(machine: FarMachine): Promise<void> {
  assert.doesNotMatch(await machine.log(), BLOCKED);
  assert.match(await machine.log(), /^Server listening/m);
}

void suite('penalties', { skip, concurrency: 2 }, () => {
  test('the server is one that blocks', async () => {
    await using server = await newerSshd(['LogLevel VERBOSE']);
    await using machine = await FarMachine.withSource(MIB, server.lines);
    await writeFile(join(machine.folder, 'ssh/authorized-keys'), '');
    for (let tries = 0; tries < 5; tries++) await machine.send();
    assert.match(await machine.log(), BLOCKED);
  });

  test('many connections, and a receiver that is killed', async () => {
    await using server = await newerSshd();
    await using machine = await FarMachine.withSource(24 * MIB, server.lines);
    const sender = await machine.startSend(...SLOWLY, ...NOWHERE, '--connections', '12');
    for (let kills = 0; kills < 2; kills++) {
      await sender.waitForLine(new RegExp(`"percent":[${kills * 3 + 2}-9]\\d,.*"blocksDurable":[1-9]`));
      for (const id of await machine.receivers()) process.kill(id, 'SIGKILL');
    }
    const { status, stderr } = await bounded('the sender', sender.ended, END_MS_MAX);
    assert.equal(status, 0, stderr);
    await assertEqualFiles(machine.source, machine.target);
    await assertNotBlocked(machine);
    await assertNothingLeft(machine);
  });

  test('ssh that is killed again and again', async () => {
    await using server = await newerSshd();
    await using machine = await FarMachine.withSource(24 * MIB, server.lines);
    const sender = await machine.startSend(...SLOWLY, ...NOWHERE, '--connections', '8');
    for (let kills = 0; kills < 3; kills++) {
      await sender.waitForLine(new RegExp(`"percent":[${kills * 2 + 2}-9]\\d,.*"blocksDurable":[1-9]`));
      for (const { id } of await machine.processes(/^ssh[: ]/)) {
        try {
          process.kill(id, 'SIGKILL');
        } catch {
          // One that was about to end.
        }
      }
    }
    const { status, stderr } = await bounded('the sender', sender.ended, END_MS_MAX);
    assert.equal(status, 0, stderr);
    await assertEqualFiles(machine.source, machine.target);
    await assertNotBlocked(machine);
  });

  test('a login that asks a question each time', async () => {
    await using server = await newerSshd();
    await using machine = await FarMachine.withSource(8 * MIB, server.lines);
    const answer = join(machine.folder, 'answer');
    const key = join(machine.folder, 'ssh/user-key');
    await runOk('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'open sesame', '-f', key]);
    await writeFile(answer, "#!/bin/sh\necho 'open sesame'\n", { mode: 0o755 });
    const config = await readFile(machine.configFile, 'utf8');
    await writeFile(machine.configFile, config.replace('BatchMode yes', ''));
    const env = { SSH_ASKPASS: answer, SSH_ASKPASS_REQUIRE: 'force' };
    for (const way of [NOWHERE, []]) {
      const { status, stderr } = await machine.sendIn(
        env,
        ...way,
        '--connections',
        '8',
        '--overwrite-target',
      );
      assert.equal(status, 0, stderr);
    }
    await assertNotBlocked(machine);
  });
});
