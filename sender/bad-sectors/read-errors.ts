/** Decides about a failed read: a bad sector, or a disk that is gone, and what the user wants then. */
import { errnoOf, reasonOf, TransferError } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import { SECTOR_BYTES } from '../../common/areas.ts';
import type { ReadMap } from './read-map.ts';
import { runOutText, type RunOut } from './optical-run-out.ts';

/**
 * More unreadable bytes in a row than damage to a surface makes: a dead head, a broken cable, a disk that
 * fails every read. Each sector may take many seconds to fail; the rest of the disk would take months.
 */
export const UNREADABLE_RUN_BYTES_MAX = 16 * 1024 * 1024;

/** The device is gone: no disk, no medium, no server behind a mount (errno(3)). */
const GONE: readonly string[] = ['ENXIO', 'ENODEV', 'ENOMEDIUM', 'ENOTCONN', 'ESTALE'];
/** Failures of this process or machine, which say nothing about the disk (read(2)). */
const NOT_THE_DISK: readonly string[] = [
  'EINVAL',
  'ENOMEM',
  'EAGAIN',
  'EINTR',
  'EBADF',
  'EFAULT',
  'EPERM',
  'EACCES',
];

export type OnReadError = 'stop' | 'zero';

export interface ReadErrorOptions {
  readonly path: string;
  readonly onReadError: OnReadError;
  readonly map: ReadMap;
  readonly runOut: RunOut | undefined;
  /** Whether the device was removed: some drivers report EIO then, as for a bad sector. */
  readonly isGone: () => boolean;
}

export class ReadErrors {
  readonly #options: ReadErrorOptions;

  constructor(options: ReadErrorOptions) {
    this.#options = options;
  }

  /** Before smaller reads are tried. @throws TransferError `source-read` if they make no sense. */
  refuse(at: number, lengthBytes: number, error: unknown): void {
    const errno = errnoOf(error) ?? '';
    const { path } = this.#options;
    if (GONE.includes(errno) || this.#options.isGone()) {
      const reason = errno === 'ENOMEDIUM' ? reasonOf(error) : 'the device is gone';
      throw new TransferError('source-read', `cannot read ${path} at offset ${at}: ${reason}`, {
        cause: error,
        hint:
          'check its cable and its name (lsblk), then run the same command again to resume; ' +
          'what was sent is safe',
      });
    }
    if (NOT_THE_DISK.includes(errno)) {
      const message = `cannot read ${lengthBytes} bytes at offset ${at} of ${path}: ${reasonOf(error)}`;
      const hint = 'run the same command again to resume; what was sent is safe';
      throw new TransferError('source-read', message, { cause: error, hint });
    }
  }

  /** A bad sector, or a part of one. @throws TransferError `source-read` unless the copy continues. */
  note(at: number, lengthBytes: number, error: unknown): void {
    const { path, map, runOut, onReadError } = this.#options;
    const runBytes = map.noteUnreadable(at, lengthBytes);
    const reason = reasonOf(error);
    if (onReadError === 'stop') {
      const place = `offset ${at} of ${path}: ${reason} (sector ${Math.floor(at / SECTOR_BYTES)})`;
      const ways =
        'run the same command again to retry, or with --on-read-error zero to continue: ' +
        'unreadable sectors are then replaced by zeros, and listed';
      const note = runOutText(runOut, path, [[at, map.sizeBytes - at]]);
      throw new TransferError('source-read', `cannot read ${lengthBytes} bytes at ${place}`, {
        cause: error,
        hint: note === undefined ? ways : `${note}; ${ways}`,
      });
    }
    if (runBytes <= UNREADABLE_RUN_BYTES_MAX) return;
    const limit = formatSize(UNREADABLE_RUN_BYTES_MAX);
    throw new TransferError(
      'source-read',
      `more than ${limit} in a row of ${path}, up to offset ${at + lengthBytes}, cannot be read: ${reason}`,
      {
        cause: error,
        hint:
          'this is more than bad sectors: try another cable or port, or copy the disk with ddrescue first; ' +
          'with --mapfile a later run reads only what is not on the target yet',
      },
    );
  }
}
