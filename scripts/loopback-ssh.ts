/** An sshd of our own on a free loopback port, with keys that live no longer than it does. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Failure, OwnProcess, run, until } from './both-sides.ts';

const START_TIMEOUT_MS = 10_000;
/** Where sshd confines its unprivileged half when it is root; the system makes it at boot (sshd(8)). */
const PRIVSEP_FOLDER = '/run/sshd';
const FOLDERS = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];

/** The full path of a program, also from where the PATH of ordinary users does not lead. */
export function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Where sshd listens, when that is not on loopback of this network namespace. */
export interface Elsewhere {
  readonly address: string;
  /** What the command lines of the server and of the client begin with. */
  readonly far: readonly string[];
  readonly near: readonly string[];
}

/** Of loopback; at another address it is most likely free as well. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Failure('found no free port');
  return address.port;
}

async function writeConfigs(folder: string, address: string, port: number): Promise<void> {
  const at = (name: string): string => join(folder, name);
  const server = [
    `ListenAddress ${address}:${port}`,
    `HostKey ${at('host-key')}`,
    `AuthorizedKeysFile ${at('authorized-keys')}`,
    `PidFile none`,
    `StrictModes no`,
    `UsePAM no`,
    `PasswordAuthentication no`,
    `KbdInteractiveAuthentication no`,
    `PermitRootLogin prohibit-password`,
  ];
  const client = [
    `Host loopback`,
    `HostName ${address}`,
    `Port ${port}`,
    `User ${userInfo().username}`,
    `IdentityFile ${at('user-key')}`,
    `IdentitiesOnly yes`,
    `IdentityAgent none`,
    `BatchMode yes`,
    `StrictHostKeyChecking yes`,
    `UserKnownHostsFile ${at('known-hosts')}`,
    `GlobalKnownHostsFile none`,
    `Compression no`,
  ];
  await writeFile(at('sshd-config'), `${server.join('\n')}\n`);
  await writeFile(at('ssh-config'), `${client.join('\n')}\n`);
  await copyFile(at('user-key.pub'), at('authorized-keys'));
  await writeFile(at('known-hosts'), `[${address}]:${port} ${await readFile(at('host-key.pub'), 'utf8')}`);
}

/**
 * @param stack stops it.
 * @returns the client's configuration: `ssh -F <file> loopback …` logs in as the present user.
 * @throws Failure with the reason why there is no ssh here.
 */
export async function startLoopbackSsh(
  folder: string,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
  { address, far, near }: Elsewhere = { address: '127.0.0.1', far: [], near: [] },
): Promise<string> {
  const sshd = findProgram('sshd');
  const packages = [
    ...(sshd === undefined ? ['openssh-server'] : []),
    ...(findProgram('ssh') === undefined ? ['openssh-client'] : []),
  ];
  if (sshd === undefined || packages.length > 0) {
    throw new Failure(`missing: apt-get install ${packages.join(' ')}`);
  }
  await mkdir(folder, { mode: 0o700 });
  for (const name of ['host-key', 'user-key']) {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)], signal);
  }
  await writeConfigs(folder, address, await freePort());
  if (process.getuid?.() === 0 && !existsSync(PRIVSEP_FOLDER)) {
    await mkdir(PRIVSEP_FOLDER, { mode: 0o755 });
    stack.defer(() => rmdir(PRIVSEP_FOLDER).catch(() => {}));
  }
  const server = stack.use(OwnProcess.within(far, [sshd, '-D', '-e', '-f', join(folder, 'sshd-config')]));
  const configFile = join(folder, 'ssh-config');
  let reason = '';
  try {
    await until('sshd', signal, START_TIMEOUT_MS, async () => {
      const end = await OwnProcess.within(near, ['ssh', '-F', configFile, 'loopback', 'true']).ended;
      reason = end.errors.at(-1) ?? reason;
      if (!server.isRunning) throw new Failure(server.errors.join(' · '));
      return end.status === 0;
    });
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Failure)) throw error;
    throw new Failure(`sshd does not work here: ${reason === '' ? error.message : reason}`, 1, {
      cause: error,
    });
  }
  return configFile;
}
