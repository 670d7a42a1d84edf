/** Logins of all kinds, through real sshds: agents, questions, jump hosts, shells, users who are not root. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { FarMachine, NOWHERE, assertNothingLeft } from '../support/far-machine.ts';
import { MIB, assertEqualFiles, environment } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk, start } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');

const AS_NOBODY =
  '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "$SSH_ORIGINAL_COMMAND"\n';

async function make(...args: Parameters<typeof FarMachine.make>): Promise<FarMachine> {
  return await FarMachine.withSource(MIB, ...args);
}

async function assertCopied(machine: FarMachine, ...words: readonly string[]): Promise<string> {
  const { status, stderr } = await machine.send(...words);
  assert.equal(status, 0, stderr);
  await assertEqualFiles(machine.source, machine.target);
  await assertNothingLeft(machine);
  return stderr;
}

void suite('logins', { skip, concurrency: 3 }, () => {
  test('keys may be in an agent', async () => {
    await using machine = await make();
    const [socket, key] = ['agent', 'user-key'].map((name) => join(machine.folder, 'ssh', name));
    await using agent = await start('ssh-agent', ['-D', '-a', socket ?? '']);
    await agent.waitForLine(/^SSH_AUTH_SOCK=/);
    await runOk('ssh-add', ['-q', key ?? ''], { env: environment({ SSH_AUTH_SOCK: socket }) });
    const config = await readFile(machine.configFile, 'utf8');
    const changed = config
      .replace(/^IdentityFile .*$/m, 'IdentityFile none')
      .replace(/^IdentitiesOnly .*$/m, '')
      .replace(/^IdentityAgent .*$/m, `IdentityAgent ${socket}`);
    assert.notEqual(changed, config);
    await writeFile(machine.configFile, changed);
    await assertCopied(machine, ...NOWHERE);
  });

  test('where each login asks a question, it is asked once', async () => {
    await using machine = await make();
    const key = join(machine.folder, 'ssh/user-key');
    const [asked, answer] = ['asked', 'answer'].map((name) => join(machine.folder, name));
    await runOk('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'open sesame', '-f', key]);
    const script = `#!/bin/sh\necho asked >>'${asked}'\necho 'open sesame'\n`;
    await writeFile(answer ?? '', script, { mode: 0o755 });
    await writeFile(
      machine.configFile,
      (await readFile(machine.configFile, 'utf8')).replace('BatchMode yes', ''),
    );
    const env = { SSH_ASKPASS: answer, SSH_ASKPASS_REQUIRE: 'force' };
    const { status, stderr } = await machine.sendIn(env, ...NOWHERE);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /warning: all connections share one of ssh, since it asks a question at each login/);
    assert.equal(await readFile(asked ?? '', 'utf8'), 'asked\n');
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });

  test('behind a jump host, everything goes through it', async () => {
    await using jump = await FarMachine.make();
    await using machine = await make();
    await machine.jumpOver(jump);
    const before = await jump.logins();
    // The ticket's own address is loopback here, and would be reached.
    const said = await assertCopied(machine, ...NOWHERE, '--connections', '3');
    assert.match(said, /^line {5}through ssh/m);
    const [through, logins] = [await jump.logins(), await machine.logins()];
    assert.equal(through - before, logins - 1, 'each login but that of the test');
  });
});

void suite('logins that are refused', { skip, concurrency: 3 }, () => {
  test('an unknown host key is a refusal that says what to do', async () => {
    await using machine = await make();
    await writeFile(join(machine.folder, 'ssh/known-hosts'), '');
    const { status, stderr } = await machine.send();
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot log in to loopback: Host key verification failed\.$/m);
    assert.match(
      stderr,
      /hint: log in once by hand, and compare the fingerprint of its key: ssh -F \S+ loopback$/m,
    );
    await assertNothingLeft(machine);
  });

  test('a login that is refused is not tried again', async () => {
    await using machine = await make();
    await writeFile(join(machine.folder, 'ssh/authorized-keys'), '');
    const { status, stderr } = await machine.send();
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot log in to loopback: \S+: Permission denied \(publickey\)\.$/m);
  });
});

void suite('shells and users', { skip, concurrency: 3 }, () => {
  for (const shell of ['dash', 'tcsh'] as const) {
    const name = `the shell there may be ${shell}, and print what it likes`;
    test(name, { skip: unlessInstalled('tcsh') }, async () => {
      const noise = `echo 'Welcome!'\necho 'no mail' >&2\nexec ${shell} -c "$SSH_ORIGINAL_COMMAND"`;
      await using machine = await make({
        shell: `#!/bin/sh\n${noise}\n`,
        server: ['AllowTcpForwarding no'],
      });
      await assertCopied(machine, ...NOWHERE);
    });
  }

  test('a login that runs nothing is named', async () => {
    await using machine = await make({ shell: '#!/bin/sh\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n' });
    const nologin = "#!/bin/sh\necho 'This account is not available.'\nexit 1\n";
    await writeFile(join(machine.folder, 'shell'), nologin);
    const { status, stderr } = await machine.send();
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot run a shell at loopback: This account is not available\.$/m);
  });

  test('a user who is not root and may not be is a refusal', async () => {
    await using machine = await make({ shell: AS_NOBODY });
    const { status, stderr } = await machine.send();
    assert.equal(status, 4, stderr);
    assert.match(stderr, /: nobody is not root at loopback, and sudo asks for a password$/m);
    await assertNothingLeft(machine);
  });

  test('a user who may use sudo without a password is root', { skip: unlessInstalled('sudo') }, async () => {
    // In a mount namespace, where this machine's own rules are not.
    const rules = 'Defaults use_pty\nnobody ALL=(ALL) NOPASSWD: ALL\n';
    const folder = '/etc/sudoers.d';
    const write = `printf '${rules}' >${folder}/nobody && chmod 440 ${folder}/nobody`;
    const inside = `mount -t tmpfs -o mode=755 tmpfs ${folder} && ${write} && exec "$@"`;
    const far = ['unshare', '--mount', 'sh', '-c', inside, 'sh'];
    const elsewhere = { address: '127.0.0.1', far, near: [] };
    await using machine = await make({ elsewhere, shell: AS_NOBODY, server: ['AllowTcpForwarding no'] });
    const said = await assertCopied(machine, ...NOWHERE);
    assert.match(said, /^login {4}loopback: Linux \S+, nobody with sudo$/m);
  });
});
