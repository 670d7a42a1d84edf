/** What Node has no system call for: a program of the system does it to a descriptor of ours. */
import { spawn } from 'node:child_process';
import type { FileHandle } from 'node:fs/promises';
import { TransferError, reasonOf } from '../../common/errors.ts';

/**
 * Runs a program with the file as its descriptor 3, in no language but English.
 * @returns whether it succeeded, and what it said. @throws TransferError `target-refused` when it is missing.
 */
export async function runOn(
  handle: FileHandle,
  command: string,
  args: readonly string[],
): Promise<{ isDone: boolean; complaint: string }> {
  const env = { ...process.env, LC_ALL: 'C' };
  const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'pipe', handle.fd] });
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  return await new Promise((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new TransferError('target-refused', `cannot run ${command}: ${reasonOf(cause)}`, { cause })),
    );
    child.once('close', (status) => resolve({ isDone: status === 0, complaint }));
  });
}
