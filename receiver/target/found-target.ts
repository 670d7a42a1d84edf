/** A target that may be written, before it is opened. */
import { enumerate, refusal } from './target-safety.ts';
import type { Target, TargetIdentity } from './target.ts';

export interface FoundTarget {
  /** Of a file that does not exist yet, `fileId` is null. */
  readonly identity: TargetIdentity;
  /** For messages: `/dev/sdb (ATA WDC WD10EZEX, 931.5 GiB)`. */
  readonly name: string;
  /** What is on it, in words; empty when nothing is known to be. */
  readonly content: readonly string[];
  /** {@link open} creates it. */
  readonly isAbsent: boolean;
  /** Opens it for this process alone. @throws TransferError `target-refused`. */
  open(): Promise<Target>;
}

/** Call it unless the operator allows overwriting. @throws TransferError `target-refused`. */
export function refuseContent({ name, content }: FoundTarget): void {
  if (content.length === 0) return;
  throw refusal(
    `cannot write to ${name}: it is not empty: ${enumerate(content, ', ')}`,
    'add --overwrite-target if all of that may be destroyed',
  );
}
