import type { FileHandle } from 'node:fs/promises';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { TOOL_FD, runTool } from '../../common/system-tools.ts';

/**
 * flock(2), exclusive; the lock belongs to our descriptor, which flock(1) inherits.
 * @returns whether nobody else has it. @throws TransferError `target-refused` without flock(1).
 */
export async function lockFile(handle: FileHandle): Promise<boolean> {
  try {
    return (await runTool('flock', ['--exclusive', '--nonblock', String(TOOL_FD)], { handle })).isDone;
  } catch (cause) {
    throw new TransferError('target-refused', `cannot run flock: ${reasonOf(cause)}`, { cause });
  }
}
