/** System calls that Node does not have: programs of the system make them on descriptors of ours. */
import type { FileHandle } from 'node:fs/promises';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { TOOL_FD, TOOL_FILE, runTool, type ToolOutcome } from '../../common/system-tools.ts';

/** fallocate(1) reports EOPNOTSUPP, ENOSYS and ENOTTY only in words. */
const NOT_SUPPORTED = /not supported|unsupported|not implemented|Inappropriate ioctl/i;

/**
 * fallocate(2) with FALLOC_FL_PUNCH_HOLE: the range then reads as zeros. On devices the kernel supports it
 * only where the device does it fast. `failed` may succeed the next time: EBUSY while something reads the
 * range.
 * @throws TransferError `target-refused` without fallocate(1).
 */
export async function punchHole(
  handle: FileHandle,
  offset: number,
  lengthBytes: number,
): Promise<'done' | 'failed' | 'not-supported'> {
  const range = ['--offset', String(offset), '--length', String(lengthBytes)];
  const args = ['--punch-hole', '--keep-size', ...range, TOOL_FILE];
  const { isDone, complaint } = await runOn(handle, 'fallocate', args);
  if (isDone) return 'done';
  return NOT_SUPPORTED.test(complaint) ? 'not-supported' : 'failed';
}

/**
 * posix_fadvise(2) with POSIX_FADV_DONTNEED for the whole file: what was flushed leaves the page cache.
 * @returns whether it worked. @throws TransferError `target-refused` without dd(1).
 */
export async function dropFromCache(handle: FileHandle): Promise<boolean> {
  const args = [`if=${TOOL_FILE}`, 'iflag=nocache', 'count=0', 'status=none'];
  return (await runOn(handle, 'dd', args)).isDone;
}

/**
 * flock(2), exclusive; the lock belongs to our descriptor, which the child process inherits.
 * @returns whether nobody else has it. @throws TransferError `target-refused` without flock(1).
 */
export async function lockFile(handle: FileHandle): Promise<boolean> {
  return (await runOn(handle, 'flock', ['--exclusive', '--nonblock', String(TOOL_FD)])).isDone;
}

/** @throws TransferError `target-refused` when it is not installed. */
async function runOn(handle: FileHandle, command: string, args: readonly string[]): Promise<ToolOutcome> {
  try {
    return await runTool(command, args, { handle });
  } catch (cause) {
    throw new TransferError('target-refused', `cannot run ${command}: ${reasonOf(cause)}`, { cause });
  }
}
