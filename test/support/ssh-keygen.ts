/** OpenSSH's own verdict on signatures. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './run.ts';
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
