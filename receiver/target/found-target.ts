/** A target that may be written, before it is opened for writing. */
import type { DiskPlaces } from '../../common/disk/disk-places.ts';
import { TransferError } from '../../common/errors.ts';
import { enumerate } from './target-safety.ts';
import type { Target, TargetIdentity } from './target.ts';

/** A target that is open for this process alone. */
export interface OpenedTarget {
  readonly target: Target;
  readonly places: DiskPlaces;
}

/**
 * What was inspected stays open until it is disposed: {@link open} opens the same again, whatever its name
 * leads to by then.
 */
export interface FoundTarget extends AsyncDisposable {
  /** Of a file that does not exist yet, `fileId` is null. */
  readonly identity: TargetIdentity;
  /** For messages: `/dev/sdb (ATA WDC WD10EZEX, 931.5 GiB)`. */
  readonly name: string;
  /** What is on it, in words; empty when nothing is known to be. */
  readonly content: readonly string[];
  /** {@link open} creates it. */
  readonly isAbsent: boolean;
  /** Whether another path leads to it now. */
  isAt(path: string): Promise<boolean>;
  /** @throws TransferError `target-refused`, also when its name leads to something else by now. */
  open(): Promise<OpenedTarget>;
}

/**
 * Call it unless the operator allows overwriting.
 * @param loss what would be lost besides, and has not been allowed. @throws TransferError `target-refused`.
 */
export function refuseContent({ name, content }: FoundTarget, loss?: string): void {
  if (content.length === 0) return;
  const what = `cannot write to ${name}: it is not empty: ${enumerate(content, ', ')}`;
  const message = loss === undefined ? what : `${what}; and --discard-transfer would lose ${loss}`;
  const options = loss === undefined ? '--overwrite-target' : '--overwrite-target and --yes';
  throw new TransferError('target-refused', message, {
    hint: `add ${options} if all of that may be destroyed`,
    details: { isContent: true },
  });
}
