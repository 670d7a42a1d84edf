/** Values of `--compress`. Pure. */
import { TransferError } from '../../common/errors.ts';

/** A number is the level of zstd for every block. */
export type Compression = 'auto' | 'none' | number;

/** zstd's own default (zstd(1)). */
const LEVEL_DEFAULT = 3;
/** Higher levels are zstd's `--ultra`: much memory, and hardly a byte less in blocks of 16 MiB or less. */
export const LEVEL_MAX = 19;

/** `auto`, `none`, `zstd` or `zstd:<level>`. @throws TransferError `usage`. */
export function parseCompression(text: string): Compression {
  if (text === 'auto' || text === 'none') return text;
  const match = /^zstd(?::([1-9]\d?))?$/.exec(text);
  const level = Number(match?.[1] ?? LEVEL_DEFAULT);
  if (match !== null && level <= LEVEL_MAX) return level;
  throw new TransferError(
    'usage',
    `--compress '${text}' is not auto, none, zstd, or zstd:1 to zstd:${LEVEL_MAX}`,
  );
}
