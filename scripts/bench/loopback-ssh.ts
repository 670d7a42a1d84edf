/** A private sshd on a free loopback port, with keys that are removed with it. */
import { once } from 'node:events';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { until } from '../../test/support/processes.ts';
import { findProgram, missingTools, packagesFor } from '../../test/support/requires.ts';
import { lastWords, ProcessFailure, run } from '../../test/support/run.ts';
import { Failure, runTool } from '../run-script.ts';
import { startAt } from './copy.ts';

const START_TIMEOUT_MS = 10_000;
/** Where sshd, as root, confines its unprivileged process; the system makes it at boot (sshd(8)). */
const PRIVSEP_FOLDER = '/run/sshd';

/** Lines of configuration that count before the usual ones. */
export interface SshLines {
  readonly server?: readonly string[];
  readonly client?: readonly string[];
  /** Another one than that of this machine. */
  readonly sshd?: string;
}

/** Where sshd listens, if not on loopback in this network namespace. */
export interface Elsewhere {
  readonly address: string;
  /** What the command lines of the server and of the client start with. */
  readonly far: readonly string[];
  readonly near: readonly string[];
}

/** A free port on loopback; most likely it is free at other addresses too. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Failure('found no free port');
  return address.port;
}

async function writeConfigs(folder: string, address: string, port: number, lines: SshLines): Promise<void> {
  const at = (name: string): string => join(folder, name);
  const server = [
    ...(lines.server ?? []),
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
    ...(lines.client ?? []),
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
 * Its log is `sshd-log` in the folder.
 * @param stack stops it.
 * @returns the client's configuration: `ssh -F <file> loopback …` logs in as the current user.
 * @throws Failure that says why ssh does not work here.
 */
export async function startLoopbackSsh(
  folder: string,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
  { address, far, near }: Elsewhere = { address: '127.0.0.1', far: [], near: [] },
  lines: SshLines = {},
): Promise<string> {
  const sshd = lines.sshd ?? findProgram('sshd');
  const packages = packagesFor(missingTools('sshd', 'ssh', 'ssh-keygen'));
  if (sshd === undefined || packages.length > 0) {
    throw new Failure(`OpenSSH is not installed: apt-get install ${packages.join(' ')}`);
  }
  await mkdir(folder, { mode: 0o700 });
  for (const name of ['host-key', 'user-key']) {
    await runTool('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)], signal);
  }
  await writeConfigs(folder, address, await freePort(), lines);
  // It stays: another sshd may be using it.
  if (process.getuid?.() === 0) await mkdir(PRIVSEP_FOLDER, { mode: 0o755, recursive: true });
  const log = join(folder, 'sshd-log');
  const server = stack.use(await startAt(far, [sshd, '-D', '-E', log, '-f', join(folder, 'sshd-config')]));
  const configFile = join(folder, 'ssh-config');
  let reason = '';
  const canLogIn = async (): Promise<boolean> => {
    signal.throwIfAborted();
    const ended = await run('ssh', ['-F', configFile, 'loopback', 'true'], { under: near });
    reason = lastWords(ended);
    if (!server.isRunning)
      throw new ProcessFailure(lastWords({ stdout: '', stderr: await readFile(log, 'utf8') }));
    return ended.status === 0;
  };
  try {
    await until('sshd', canLogIn, START_TIMEOUT_MS);
  } catch (error) {
    if (!(error instanceof ProcessFailure)) throw error;
    throw new Failure(`sshd does not work here: ${reason === '' ? error.message : reason}`, 1, {
      cause: error,
    });
  }
  return configFile;
}
