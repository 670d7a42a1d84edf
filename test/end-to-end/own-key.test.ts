/** Tokens that the user's own ssh key or agent signs, and receivers that know nothing but public keys. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fingerprintOf, makeSigningKey } from '../../common/trust/ssh-signature.ts';
import { prng } from '../support/prng.ts';
import {
  KIB,
  OWN_HOST,
  SCRIPTS,
  assertEqualFiles,
  environment,
  runReceiver,
  runSender,
  sendAll,
  startReceiver,
  type Receiver,
} from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { runOk, start, type Ended } from '../support/run.ts';
import { makeSshKey, publicLine } from '../support/ssh-keygen.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessInstalled('ssh-keygen', 'ssh-agent', 'ssh-add');
/** Whatever is running on this machine. */
const WITHOUT_AGENT = { SSH_AUTH_SOCK: undefined, SSH_ASKPASS: undefined, DISPLAY: undefined };

interface Scene extends AsyncDisposable {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  /** What stands in the public ticket. */
  readonly ticket: string;
}

/** @param lines of the file, of the keys that were made in the folder. */
async function makeScene(lines: (folder: string) => Promise<readonly string[]>): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  const allowed = join(folder.path, 'allowed_signers');
  await writeFile(source, prng(3).bytes(256 * KIB));
  await writeFile(allowed, `${(await lines(folder.path)).join('\n')}\n`);
  const options = ['--allow-signers', allowed];
  const receiver = stack.use(await startReceiver({ folder: folder.path, target, options }));
  const ticket = (await readFile(`${receiver.ticketFile}.pub`, 'utf8')).trim();
  const owned = stack.move();
  const dispose = async (): Promise<void> => await owned.disposeAsync();
  return { folder: folder.path, source, target, receiver, ticket, [Symbol.asyncDispose]: dispose };
}

async function send(identity: string, scene: Scene, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const place = ['--identity', identity, scene.source, scene.ticket];
  return await runSender(place, { ...WITHOUT_AGENT, ...env });
}

function assertRefused({ status, stdout, stderr }: Ended, expected: number, message: RegExp): void {
  assert.deepEqual([status, stdout], [expected, ''], stderr);
  assert.match(stderr, message);
}

for (const type of ['ed25519', 'ecdsa', 'rsa']) {
  test(`a key of type ${type} sends a disk with a ticket that has no secret`, { skip }, async () => {
    await using scene = await makeScene(async (folder) => {
      return [`alice@example.org ${await publicLine(await makeSshKey(join(folder, 'id'), type))}`];
    });
    const { source, target, receiver, ticket } = scene;
    const receipt = join(scene.folder, 'receipt.json');
    const identity = ['--identity', join(scene.folder, 'id')];
    const ended = await runSender([...identity, '--receipt', receipt, source, ticket], WITHOUT_AGENT);
    assert.equal(ended.status, 0, ended.stderr);
    await assertEqualFiles(source, target);
    assert(!`${ended.stdout}${ended.stderr}`.includes('ddt1.'));
    const { stdout, stderr } = await receiver.end('SIGTERM');
    assert.match(stdout, /^signer {3}alice@example\.org: SHA256:\S{43}$/m);
    assert(stdout.endsWith(`public ticket: ${ticket}\n`), stdout);
    assert(!`${stdout}${stderr}`.includes('ddt1.'));
    for (const what of ['claimed', 'sealed'])
      assert.match(
        stderr,
        new RegExp(`: ${what} by 127\\S+ \\(token \\w{16} signed by alice@example\\.org\\): `),
      );
    // The same after a restart; the secret ticket counts as well.
    await receiver.start();
    assert.equal((await readFile(`${receiver.ticketFile}.pub`, 'utf8')).trim(), ticket);
    await sendAll('--ticket-file', receiver.ticketFile, source);
    await sendAll(...identity, '--ticket-file', `${receiver.ticketFile}.pub`, source);
  });
}

test('an agent signs for the public half of its key', { skip }, async () => {
  await using scene = await makeScene(async (folder) => [
    `bob ${await publicLine(await makeSshKey(join(folder, 'id'), 'ed25519'))}`,
  ]);
  const socket = join(scene.folder, 'agent');
  await using agent = await start('ssh-agent', ['-D', '-a', socket]);
  await agent.waitForLine(/SSH_AUTH_SOCK/);
  const env = environment({ SSH_AUTH_SOCK: socket });
  await runOk('ssh-add', ['-q', join(scene.folder, 'id')], { env });
  await rename(join(scene.folder, 'id'), join(scene.folder, 'away'));
  const identity = join(scene.folder, 'id.pub');
  const without = await send(identity, scene);
  assertRefused(
    without,
    2,
    /error: cannot sign with the key \S+: there is no private key beside it, and no agent /,
  );
  const { status, stderr } = await send(identity, scene, { SSH_AUTH_SOCK: socket });
  assert.equal(status, 0, stderr);
});

test('a passphrase is asked for as ssh does, and a wrong one is named', { skip }, async () => {
  await using scene = await makeScene(async (folder) => {
    const path = await makeSshKey(join(folder, 'id'), 'ed25519');
    await runOk('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'right', '-f', path]);
    return [`carol ${await publicLine(path)}`];
  });
  const ask = async (answer: string): Promise<Ended> => {
    const program = join(scene.folder, `ask-${answer}`);
    await writeFile(program, `#!/bin/sh\necho ${answer}\n`, { mode: 0o700 });
    return await send(join(scene.folder, 'id'), scene, {
      SSH_ASKPASS: program,
      SSH_ASKPASS_REQUIRE: 'force',
    });
  };
  assertRefused(
    await ask('wrong'),
    2,
    /: its passphrase was wrong, or not given\nddt-send: hint: ssh-add \S+id, /,
  );
  assert.equal((await ask('right')).status, 0);
});

test(
  'keys that may not sign now, or not for this, or are not in the file, are refused',
  { skip },
  async () => {
    await using scene = await makeScene(async (folder) => {
      const lineOf = async (name: string): Promise<string> =>
        await publicLine(await makeSshKey(join(folder, name), 'ed25519'));
      await lineOf('stranger');
      return [
        `good ${await lineOf('good')}`,
        `late valid-before="20250101Z" ${await lineOf('late')}`,
        `early valid-after="21000101Z" ${await lineOf('early')}`,
        `git namespaces="git" ${await lineOf('git')}`,
      ];
    });
    const refused =
      /error: the receiver says: the token is not valid here\n.*hint: use the ticket .* --allow-signers /;
    for (const name of ['stranger', 'late', 'early', 'git'])
      assertRefused(await send(join(scene.folder, name), scene), 4, refused);
    assert.equal((await scene.receiver.status()).state, 'unclaimed');
    assert.equal((await send(join(scene.folder, 'good'), scene)).status, 0);
    const { stdout } = await scene.receiver.end('SIGTERM');
    assert.match(stdout, /^signer {3}late: SHA256:\S+, until 2025-01-01T00:00:00Z$/m);
    assert(!stdout.includes('signer   git'));
  },
);

test('a receipt counts only if the key in the public ticket has signed it', { skip }, async () => {
  await using scene = await makeScene(async (folder) => [
    `good ${await publicLine(await makeSshKey(join(folder, 'id'), 'ed25519'))}`,
  ]);
  const other = fingerprintOf(makeSigningKey().publicKey);
  const ticket = scene.ticket.replace(/key=.*/, `key=${other}`);
  const ended = await send(join(scene.folder, 'id'), { ...scene, ticket });
  assertRefused(
    ended,
    4,
    /does not prove anything: it is signed by SHA256:\S+, and the ticket names SHA256:/,
  );
  assert(ended.stderr.includes(`the ticket names ${other}\n`), ended.stderr);
});

test('keys, tickets and programs that do not fit are named before anything is sent', { skip }, async () => {
  await using scene = await makeScene(async (folder) => [
    `good ${await publicLine(await makeSshKey(join(folder, 'id'), 'ed25519'))}`,
  ]);
  const id = join(scene.folder, 'id');
  const { source, receiver, ticket } = scene;
  assertRefused(await send(join(scene.folder, 'none'), scene), 2, /none: no such file or directory\n/);
  assertRefused(await send(source, scene), 2, /error: cannot sign with the key \S+source: /);
  await makeSshKey(join(scene.folder, 'short'), 'rsa', '-b', '1024');
  const short = await send(join(scene.folder, 'short'), scene);
  assertRefused(short, 2, /short: an RSA key of 1024 bits: 2048 to 4096 are supported\n/);
  await chmod(id, 0o644);
  assertRefused(await send(id, scene), 2, /id: others may read it\nddt-send: hint: chmod 600 \S+id\n/);
  const public_ =
    /error: cannot read the ticket: it is a public one, .*\n.*hint: .* --identity ~\/\.ssh\/id_ed25519 /;
  assertRefused(await runSender([source, ticket]), 2, public_);
  const secret = ['--identity', id, source, receiver.ticket];
  assertRefused(
    await runSender(secret),
    2,
    /error: cannot read the ticket: it has a token, so no key is needed\n/,
  );
});

test('a file of signers that is damaged, or that others can change, is refused', { skip }, async () => {
  await using folder = await tempDir();
  const line = `alice ${await publicLine(await makeSshKey(join(folder.path, 'id'), 'ed25519'))}\n`;
  const place = join(folder.path, 'etc');
  const [file, link] = [join(place, 'allowed'), join(folder.path, 'link')];
  await mkdir(place);
  await symlink(file, link);
  const receive = async (path: string): Promise<Ended> => {
    const always = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder.path, 'state')];
    return await runReceiver([...always, '--allow-signers', path, join(folder.path, 'target')]);
  };
  const refused = async (reason: string, path = file): Promise<void> => {
    const { status, stderr } = await receive(path);
    assert.equal(status, 2, stderr);
    assert(
      stderr.startsWith(`ddt-receive: error: cannot use the allowed signers in ${path}: ${reason}\n`),
      stderr,
    );
  };
  await refused('no such file or directory');
  await writeFile(file, `# nobody\n`);
  await refused('there is no key in it');
  await writeFile(file, line.replace('ssh-', 'namespaces="git" ssh-'));
  await refused('none of its keys may sign for the namespace ddt-token-v1@dd-transfer');
  await writeFile(file, `${line}\nbob ssh-ed25519 AAAA\n`);
  await refused('line 3: its key is damaged');
  await writeFile(file, line + line.replace('ssh-', 'cert-authority ssh-'));
  await refused('line 2: certificates are not supported: name the keys themselves');
  await writeFile(file, line.padEnd(300 * KIB, '#'));
  await refused('it is too large for a list of keys');
  await refused('it is not a regular file', place);
  await writeFile(file, line);
  await chmod(file, 0o664);
  await refused('others may write to it');
  await chmod(file, 0o644);
  await chmod(place, 0o777);
  for (const path of [file, link])
    await refused(`its folder ${place} is not safe: others may write to it`, path);
});

test(
  'without a ticket file nothing that is secret is printed, and the event has the ticket',
  { skip },
  async () => {
    await using folder = await tempDir();
    const allowed = join(folder.path, 'allowed');
    await writeFile(
      allowed,
      `alice ${await publicLine(await makeSshKey(join(folder.path, 'id'), 'ed25519'))}\n`,
    );
    const always = ['--listen', `${OWN_HOST}:0`, '--state-dir', join(folder.path, 'state')];
    const options = [...always, '--allow-signers', allowed, '--log', 'json', join(folder.path, 'target')];
    await using receiver = await start(join(SCRIPTS, 'ddt-receive'), options, { env: environment() });
    const [, ticket] = await receiver.waitForLine(/^public ticket: (.*)$/);
    receiver.kill('SIGTERM');
    const { stdout, stderr } = await receiver.ended;
    assert.equal(stdout, `public ticket: ${ticket}\n`);
    const [first = ''] = stderr.split('\n', 1);
    const event = JSON.parse(first) as Record<string, unknown>;
    assert.equal(event['publicTicket'], ticket);
    const [signer] = event['signers'] as Record<string, unknown>[];
    assert.deepEqual([signer?.['principals'], signer?.['validAfter']], ['alice', null]);
    assert(!`${stdout}${stderr}`.includes('ddt1.'));
  },
);
