/**
 * The OpenSSH of a later Debian, which blocks addresses that fail (PerSourcePenalties, since 9.8). Its
 * packages, and the libraries that it needs, are unpacked into the folder that `DDT_TEST_OPENSSH` names.
 */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SshLines } from '../../scripts/bench/loopback-ssh.ts';
import { tempDir } from './temp-dir.ts';

const FOLDER = process.env['DDT_TEST_OPENSSH'] ?? '/nonexistent';
const LOADER = 'usr/lib64/ld-linux-x86-64.so.2';
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
const PROGRAMS = {
  sshd: 'usr/sbin/sshd',
  login: 'usr/lib/openssh/sshd-session',
  auth: 'usr/lib/openssh/sshd-auth',
};

/** For `skip`. */
export const unlessNewerSshd: string | false =
  !existsSync(join(FOLDER, PROGRAMS.auth)) && 'DDT_TEST_OPENSSH does not name the OpenSSH of Debian 13';

export interface NewerSshd extends AsyncDisposable {
  readonly lines: SshLines;
}

/** The programs begin with the loader of their own libraries. @param server further lines. */
export async function newerSshd(server: readonly string[] = []): Promise<NewerSshd> {
  const folder = await tempDir();
  const wrapped = async (name: keyof typeof PROGRAMS): Promise<string> => {
    const path = join(folder.path, name);
    const words = [LOADER, '--library-path', LIBRARIES, PROGRAMS[name]];
    const all = words.map((word) => (word.startsWith('--') ? word : `'${join(FOLDER, word)}'`));
    await writeFile(path, `#!/bin/sh\nexec ${all.join(' ')} "$@"\n`, { mode: 0o755 });
    return path;
  };
  const [sshd, login, auth] = [await wrapped('sshd'), await wrapped('login'), await wrapped('auth')];
  const paths = [`SshdSessionPath ${login}`, `SshdAuthPath ${auth}`];
  return {
    lines: { sshd, server: [...paths, ...server] },
    [Symbol.asyncDispose]: async () => await folder[Symbol.asyncDispose](),
  };
}
