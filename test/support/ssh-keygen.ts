/** OpenSSH's own verdict on signatures. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, runOk } from './run.ts';
import { tempDir } from './temp-dir.ts';

/** Whether `ssh-keygen -Y verify` accepts it. @param publicKeyLine as in `id_ed25519.pub`. */
export async function isGoodForSshKeygen(
  signed: { readonly message: string | Buffer; readonly signature: string; readonly namespace: string },
  publicKeyLine: string,
): Promise<boolean> {
  await using folder = await tempDir();
  const [allowed, signature] = [join(folder.path, 'allowed'), join(folder.path, 'signature')];
  await writeFile(allowed, `receiver ${publicKeyLine}\n`);
  await writeFile(signature, signed.signature);
  const args = ['-Y', 'verify', '-f', allowed, '-I', 'receiver', '-n', signed.namespace, '-s', signature];
  return (await run('ssh-keygen', args, { input: signed.message })).status === 0;
}

/** Makes a key pair. @param more such as `-b 384`. @returns the path of the private key. */
export async function makeSshKey(path: string, type: string, ...more: readonly string[]): Promise<string> {
  await runOk('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', '', ...more, '-f', path]);
  return path;
}

/** The line of the `.pub` beside it, without a comment. */
export async function publicLine(keyPath: string): Promise<string> {
  return (await readFile(`${keyPath}.pub`, 'utf8')).trim();
}

/** `ssh-keygen -Y sign`. @returns the binary signature. */
export async function signBySshKeygen(
  keyPath: string,
  signed: { readonly message: Buffer; readonly namespace: string; readonly hash?: 'sha256' | 'sha512' },
): Promise<Buffer> {
  const { message, namespace, hash = 'sha512' } = signed;
  const args = ['-Y', 'sign', '-q', '-O', `hashalg=${hash}`, '-n', namespace, '-f', keyPath];
  const armored = await runOk('ssh-keygen', args, { input: message });
  return Buffer.from(armored.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
}
