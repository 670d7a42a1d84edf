/** Sources on other machines that cannot be copied: what is said, and that nothing has happened. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { FarMachine, assertNothingLeft, writeProgram } from '../support/far-machine.ts';
import { MIB, assertEqualFiles } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const AS_NOBODY =
  '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "$SSH_ORIGINAL_COMMAND"\n';

async function make(...args: Parameters<typeof FarMachine.make>): Promise<FarMachine> {
  return await FarMachine.withSource(MIB, ...args);
}

async function assertUntouched(machine: FarMachine): Promise<void> {
  assert(!existsSync(machine.target), 'the target was not made');
  await assertNothingLeft(machine);
}

void suite('sources that are refused', { skip, concurrency: 3 }, () => {
  test('a source that is not there', async () => {
    await using machine = await make();
    const program = ['--program', await writeProgram(machine)];
    const { status, stderr } = await machine.pullFrom(join(machine.folder, 'nothing'), ...program);
    assert.equal(status, 4, stderr);
    assert.match(stderr, /^ddt-send: error: cannot use \S+nothing: no such file or directory$/m);
    assert.match(stderr, /^left {5}nothing at loopback$/m);
    await assertUntouched(machine);
  });

  test('a value that the sender does not know', async () => {
    await using machine = await make();
    const { status, stderr } = await machine.pull('--compress', 'gzip');
    assert.equal(status, 2, stderr);
    assert.match(stderr, /error: .*--compress/);
    await assertUntouched(machine);
  });

  test('a machine whose host key is unknown', async () => {
    await using machine = await make();
    await writeFile(join(machine.folder, 'ssh/known-hosts'), '');
    const { status, stderr } = await machine.pull();
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot log in to loopback: Host key verification failed\.$/m);
    assert.match(
      stderr,
      /hint: log in once by hand, and compare the fingerprint of its key: ssh -F \S+ loopback$/m,
    );
    await assertUntouched(machine);
  });

  test('a login that is not root and may not be', async () => {
    await using machine = await make({ shell: AS_NOBODY });
    const { status, stderr } = await machine.pull();
    assert.equal(status, 4, stderr);
    assert.match(
      stderr,
      /error: cannot start a sender there: nobody is not root at loopback, and sudo asks for a password$/m,
    );
    await assertUntouched(machine);
  });
});

void suite('programs there', { skip, concurrency: 3 }, () => {
  test('a user who may use sudo without a password is root', { skip: unlessInstalled('sudo') }, async () => {
    // In a mount namespace, where this machine's own rules are not.
    const rules = 'Defaults use_pty\nnobody ALL=(ALL) NOPASSWD: ALL\n';
    const folder = '/etc/sudoers.d';
    const write = `printf '${rules}' >${folder}/nobody && chmod 440 ${folder}/nobody`;
    const inside = `mount -t tmpfs -o mode=755 tmpfs ${folder} && ${write} && exec "$@"`;
    const far = ['unshare', '--mount', 'sh', '-c', inside, 'sh'];
    await using machine = await make({
      elsewhere: { address: '127.0.0.1', far, near: [] },
      shell: AS_NOBODY,
    });
    const { status, stderr } = await machine.pull();
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^login {4}loopback: Linux \S+, nobody with sudo$/m);
    await assertEqualFiles(machine.source, machine.target);
    await assertNothingLeft(machine);
  });

  test('a sender that says that all is verified, and has sent nothing, is not believed', async () => {
    await using machine = await make();
    const liar = join(machine.folder, 'liar');
    await writeFile(liar, '#!/bin/sh\nread hello\necho \'{"ready":true}\'\nread start\nexit 0\n', {
      mode: 0o755,
    });
    const { status, stderr } = await machine.pull('--remote-program', liar);
    assert.equal(status, 5, stderr);
    assert.match(stderr, /error: the sender says that the copy is verified, but it is not sealed here$/m);
    await assertNothingLeft(machine);
  });

  test('what the other machine writes moves no cursor here', async () => {
    await using machine = await make();
    const rude = join(machine.folder, 'rude');
    const says = '{"err":"\\u001b[2J\\u0007 and more\\n"}';
    await writeFile(rude, `#!/bin/sh\nread hello\ncat <<'E'\n${says}\nE\nexit 4\n`, { mode: 0o755 });
    const { status, stderr } = await machine.pull('--remote-program', rude);
    assert.equal(status, 4, stderr);
    assert.match(stderr, /^\?\[2J\? and more$/m);
  });

  test('a line without an end takes no memory here', async () => {
    await using machine = await make();
    const endless = join(machine.folder, 'endless');
    await writeFile(endless, "#!/bin/sh\nread hello\nexec tr '\\0' x </dev/zero\n", { mode: 0o755 });
    const { status, stderr } = await machine.pull('--remote-program', endless);
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot start a sender at loopback: /);
    await assertUntouched(machine);
  });

  test('a program that does not start there is named', async () => {
    await using machine = await make();
    const { status, stderr } = await machine.pull('--remote-program', '/nowhere/ddt-send');
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot start a sender at loopback: .*\/nowhere\/ddt-send.*not found$/m);
    await assertUntouched(machine);
  });
});
