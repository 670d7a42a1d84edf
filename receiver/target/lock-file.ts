/** flock(2), which Node does not have: a program of the system calls it on a descriptor of ours. */
import { spawn } from 'node:child_process';
import type { FileHandle } from 'node:fs/promises';
import { TransferError, reasonOf } from '../../common/errors.ts';

/** Our file in the child process. */
const FD = 3;
/**
 * flock(2), exclusive; the lock belongs to our descriptor, which the child process inherits.
 * @returns whether nobody else has it. @throws TransferError `target-refused` without flock(1).
 */
export async function lockFile(handle: FileHandle): Promise<boolean> {
  const args = ['--exclusive', '--nonblock', String(FD)];
  const child = spawn('flock', args, { stdio: ['ignore', 'ignore', 'ignore', handle.fd] });
  return await new Promise((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new TransferError('target-refused', `cannot run flock: ${reasonOf(cause)}`, { cause })),
    );
    child.once('close', (status) => resolve(status === 0));
  });
}
