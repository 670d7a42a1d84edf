/** A copy that leaves areas out, met by a run that reads everything, or by a receiver that cannot say so. */
import { TransferError } from '../../common/errors.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import type { Source } from '../source/source.ts';
import type { Stream } from '../source/stream.ts';

export function leavesOut(source: Source | Stream): boolean {
  return source.canReread && (source.leftOut ?? []).length > 0;
}

/** @throws TransferError `transfer-mismatch` where the receipt could not say what was left out. */
export function refuseUnsaid(source: Source | Stream, { hasLeftOut }: TransferStatus): void {
  if (hasLeftOut !== null || !leavesOut(source)) return;
  throw new TransferError(
    'transfer-mismatch',
    'the receiver is of version 0.2 or earlier: its receipt would not say what was left out',
    { hint: 'install the same version of dd-transfer on both machines' },
  );
}

/** A fact about what this run compares with; undefined where there is nothing to say. */
export function leftOutNote(source: Source | Stream, { hasLeftOut }: TransferStatus): string | undefined {
  if (hasLeftOut !== true || leavesOut(source)) return undefined;
  return 'note     areas of the source were left out of this copy before; this run reads all of it';
}
