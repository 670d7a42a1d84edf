/** Zeros without writing them. */
import type { FileHandle } from 'node:fs/promises';
import { runOn } from './run-on.ts';

/** fallocate(1) tells EOPNOTSUPP, ENOSYS and ENOTTY from the rest in words alone. */
const NOT_OFFERED = /not supported|unsupported|not implemented|Inappropriate ioctl/i;

/**
 * fallocate(2) with FALLOC_FL_PUNCH_HOLE: the range reads as zeros afterwards, on files and on devices, where
 * the kernel offers it only when the device does it fast. `failed`, as with EBUSY where something reads the
 * range at that moment (invalidate_inode_pages2_range), says nothing of the next time.
 * @throws TransferError `target-refused` where there is no fallocate(1).
 */
export async function punchHole(
  handle: FileHandle,
  offset: number,
  lengthBytes: number,
): Promise<'done' | 'failed' | 'not-offered'> {
  const range = ['--offset', String(offset), '--length', String(lengthBytes)];
  const args = ['--punch-hole', '--keep-size', ...range, '/dev/fd/3'];
  const { isDone, complaint } = await runOn(handle, 'fallocate', args);
  if (isDone) return 'done';
  return NOT_OFFERED.test(complaint) ? 'not-offered' : 'failed';
}
