/** Keys, tickets and state that others could read, replace or have put there, as both commands meet them. */
import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { MIB, OWN_HOST, runReceiver, runSender, startReceiver } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk, type Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Some user who is not root. */
const OTHER_USER = 12_345;
const needsRoot = { skip: unlessRoot };
const needsOpenssl = { skip: unlessRoot || unlessInstalled('openssl') };

function assertRefused({ status, stderr }: Ended, expected: number, message: string, hint: string): void {
  assert.equal(status, expected, stderr);
  const [error = '', advice = '', ...more] = stderr.trimEnd().split('\n');
  assert.deepEqual(more, [], stderr);
  assert.equal(error.replace(/^ddt-\w+: error: /, ''), message);
  assert.equal(advice.replace(/^ddt-\w+: hint: /, ''), hint);
}

/** A receiver with this state folder and target, which is expected not to start. */
async function receive(stateDir: string, target: string, ...more: string[]): Promise<Ended> {
  return await runReceiver(['--listen', `${OWN_HOST}:0`, '--state-dir', stateDir, ...more, target]);
}

test('a ticket file that others may read or change is refused before it is used', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, Buffer.alloc(MIB, 7));
  await using receiver = await startReceiver({ target: join(folder.path, 'disk.img'), folder: folder.path });
  const { ticketFile } = receiver;
  for (const [mode, words] of [
    [0o644, 'others may read it (mode 644)'],
    [0o640, 'others may read it (mode 640)'],
    [0o602, 'others may write to it (mode 602)'],
  ] as const) {
    await chmod(ticketFile, mode);
    const ended = await runSender(['--ticket-file', ticketFile, source]);
    assertRefused(ended, 2, `cannot use the ticket in ${ticketFile}: ${words}`, `chmod 600 ${ticketFile}`);
  }
  assert.equal((await receiver.status()).state, 'unclaimed');
  await chmod(ticketFile, 0o600);
  // A pipe has no mode that counts.
  const script = 'exec "$0" --ticket-file <(cat "$1") "$2"';
  const command = join(import.meta.dirname, '../../scripts/ddt-send');
  await runOk('bash', ['-c', script, command, ticketFile, source]);
});

test('a --tls-key that others may read, own or replace is refused', needsOpenssl, async () => {
  await using folder = await tempDir();
  const [pem, place] = [join(folder.path, 'one.pem'), join(folder.path, 'keys')];
  const key = join(place, 'one.key');
  await mkdir(place);
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=x'];
  await runOk('openssl', ['req', '-x509', ...ec, '-keyout', key, '-out', pem]);
  const refused = async (reason: string, hint: string): Promise<void> => {
    const options = ['--tls-cert', pem, '--tls-key', key];
    const ended = await receive(join(folder.path, 'state'), join(folder.path, 'disk.img'), ...options);
    assertRefused(ended, 2, `cannot use the TLS key ${key}: ${reason}`, hint);
  };
  await chmod(key, 0o644);
  await refused('others may read it (mode 644)', `chmod 600 ${key}`);
  await chmod(key, 0o600);
  await chown(key, OTHER_USER, 0);
  await refused(`it belongs to user ${OTHER_USER}, and this is user 0`, `chown 0 ${key}`);
  await chown(key, 0, 0);
  await chmod(place, 0o770);
  await refused(`its folder ${place} is not safe: others may write to it`, `chmod go-w ${place}`);
});

test('a key of the state folder that belongs to somebody else is refused', needsRoot, async () => {
  await using folder = await tempDir();
  const [state, target] = [join(folder.path, 'state'), join(folder.path, 'disk.img')];
  await using receiver = await startReceiver({ target, folder: folder.path });
  await receiver.end('SIGTERM');
  for (const [name, what] of [
    ['signing-key', 'signing key'],
    ['tls-key.pem', 'TLS key'],
  ] as const) {
    const path = join(state, name);
    await chown(path, OTHER_USER, 0);
    const reason = `it belongs to user ${OTHER_USER}, and this is user 0`;
    assertRefused(
      await receive(state, target),
      4,
      `cannot use the ${what} ${path}: ${reason}`,
      `chown 0 ${path}`,
    );
    await chown(path, 0, 0);
  }
});

test('a folder above the state folder that others could change is refused', needsRoot, async () => {
  await using folder = await tempDir();
  const [parent, target] = [join(folder.path, 'parent'), join(folder.path, 'disk.img')];
  const state = join(parent, 'below', 'state');
  await mkdir(parent);
  const refused = async (reason: string, hint: string): Promise<void> => {
    const other = 'name another folder with --state-dir';
    const message = `cannot keep state in ${state}: its folder ${parent} is not safe: ${reason}`;
    assertRefused(await receive(state, target), 4, message, `${hint}, or ${other}`);
  };
  for (const mode of [0o777, 0o775]) {
    await chmod(parent, mode);
    await refused('others may write to it', `chmod go-w ${parent}`);
  }
  await chmod(parent, 0o755);
  await chown(parent, OTHER_USER, 0);
  await refused(`it belongs to user ${OTHER_USER}, and this is user 0`, `chown 0 ${parent}`);
  await chown(parent, 0, 0);
  // As /tmp: nobody can replace what is ours.
  await chmod(parent, 0o1777);
  await mkdir(join(folder.path, 'ticket-place'));
  await using _receiver = await startReceiver({
    target,
    folder: join(folder.path, 'ticket-place'),
    options: ['--state-dir', state],
  });
});

test('a journal, or its folder, that others could change is refused', needsRoot, async () => {
  await using folder = await tempDir();
  const [state, target] = [join(folder.path, 'state'), join(folder.path, 'disk.img')];
  await using receiver = await startReceiver({ target, folder: folder.path });
  const [, journal = ''] = await receiver.process.waitForLine(/(\/\S+\/journal\.db)/);
  await receiver.end('SIGTERM');
  const place = dirname(journal);
  await chmod(place, 0o777);
  const message = `cannot use the journal folder ${place}: others may write to it`;
  assertRefused(await receive(state, target), 4, message, `chmod go-w ${place}`);
  // It would be looked through for a target that has another name now.
  const other = join(folder.path, 'other.img');
  assertRefused(await receive(state, other), 4, message, `chmod go-w ${place}`);
  await chmod(place, 0o700);
  await chown(journal, OTHER_USER, 0);
  const reason = `it belongs to user ${OTHER_USER}, and this is user 0`;
  const owned = `cannot use the journal ${journal}: ${reason}`;
  assertRefused(await receive(state, target), 4, owned, `chown 0 ${journal}`);
});

test('a target that leads into the state folder is refused, by whatever name', async () => {
  await using folder = await tempDir();
  const [state, links] = [join(folder.path, 'state'), join(folder.path, 'links')];
  await using receiver = await startReceiver({ target: join(folder.path, 'disk.img'), folder: folder.path });
  await receiver.end('SIGTERM');
  const key = join(state, 'signing-key');
  const before = await readFile(key, 'utf8');
  await mkdir(links);
  await symlink(key, join(links, 'key'));
  await symlink(state, join(links, 'folder'));
  await symlink(join(links, 'key'), join(links, 'again'));
  for (const name of ['key', 'again', 'folder/signing-key', 'folder/new.img']) {
    const { status, stderr } = await receive(state, join(links, name), '--overwrite-target');
    assert.equal(status, 4, stderr);
    assert.match(stderr, /error: cannot write to .*: it is in the state folder /);
  }
  assert.equal(await readFile(key, 'utf8'), before);
});
