/** `--block-size`. Pure. */
import { TransferError } from '../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX, BLOCK_SIZE_BYTES_MIN, isBlockSize } from '../common/geometry.ts';
import { formatSize, parseSize } from '../common/units.ts';

/** @returns bytes. @throws TransferError `usage`. */
export function parseBlockSize(text: string): number {
  const bytes = parseSize(text, '--block-size');
  if (isBlockSize(bytes)) return bytes;
  const limits = `${formatSize(BLOCK_SIZE_BYTES_MIN)} to ${formatSize(BLOCK_SIZE_BYTES_MAX)}`;
  throw new TransferError('usage', `--block-size ${text} is not a power of two from ${limits}`);
}
