/** What happens to the target's blocks, as lines of the log. */
import type { TransferError } from '../common/errors.ts';
import type { Trouble } from '../common/hooks.ts';
import { formatSize } from '../common/units.ts';
import type { Log } from './console/log.ts';
import { MISMATCHES_MAX } from './durability/verify-blocks.ts';
import type { TransferEvents } from './transfer/transfer.ts';

export interface EventParts {
  readonly log: Log;
  /** For what somebody should know of. */
  readonly tell: (trouble: Trouble) => void;
  readonly onJournalBroken: (error: TransferError) => void;
  /** A block was read back, and is not as it should be. */
  readonly onBad: (index: number, reason: 'mismatch' | 'changed' | 'unstable') => void;
}

/** @param path of the target. */
export function transferEvents(
  path: string,
  { log, tell, onJournalBroken, onBad }: EventParts,
): TransferEvents {
  const placeOf = (index: number, offset: number): string => `block ${index} (offset ${offset}) of ${path}`;
  const warn = (code: string, message: string): void => {
    log.warning(message, code);
    tell({ code, message });
  };
  return {
    onJournalBroken,
    onMismatch: (index, offset, count, reason) => {
      onBad(index, 'mismatch');
      warn(
        'mismatch',
        `${placeOf(index, offset)} was read back: ${reason}; ` +
          (count < MISMATCHES_MAX
            ? `it will be sent again (${count} of ${MISMATCHES_MAX})`
            : 'it is given up: the disk, its cable or its controller is broken'),
      );
    },
    onUnstable: (index, offset) => {
      onBad(index, 'unstable');
      warn('unstable', `${placeOf(index, offset)} was read back wrong once and right the second time`);
    },
    onChanged: (index, offset, count) => {
      onBad(index, 'changed');
      if (!isPowerOfTen(count)) return;
      warn(
        'foreign-writes',
        count === 1
          ? `${placeOf(index, offset)} is not what was written: another program has changed it ` +
              '(a mount, fsck, growpart, dd?)'
          : `${count} blocks of ${path} are not what was written`,
      );
    },
    onForeignWrite: (bytes) =>
      warn(
        'foreign-writes',
        `another program has written to ${path}` +
          `${bytes === null ? '' : ` (${formatSize(bytes)} since the start)`}: ` +
          'everything is read back once more before the transfer is sealed',
      ),
    onAdopted: (blocks) => log.info(`adopted what ${path} held: ${blocks} blocks are listed now`),
    onAdoptionFailed: (error) =>
      warn(
        'io-error',
        `reading what ${path} held has stopped: ${error.message}; restart ddt-receive to resume`,
      ),
  };
}

/** Not a line for each of a million blocks. */
function isPowerOfTen(count: number): boolean {
  return /^10*$/.test(String(count));
}
