/** What the journal and the status say about the target, and that the target is not in the state folder. */
import { realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { TransferError } from '../../common/errors.ts';
import type { TargetDescription } from '../../common/protocol/protocol.ts';
import type { Journal } from '../journal/journal.ts';
import type { TargetIdentity } from '../target/target.ts';

/** Parts of the content that are named: a disk has up to 128 partitions, and a response must stay short. */
const CONTENT_MAX = 64;

/** Properties for the journal. @param content what the target held before the first write. */
export function recordOf(identity: TargetIdentity, content: readonly string[]): Record<string, string> {
  const more = content.length - CONTENT_MAX;
  const kept = more > 0 ? [...content.slice(0, CONTENT_MAX), `and ${more} more`] : content;
  return { targetIdentity: JSON.stringify(identity), targetContent: JSON.stringify(kept) };
}

/** Empty for a journal of an earlier version. */
export function recordedContent(journal: Journal): readonly string[] {
  return JSON.parse(journal.property('targetContent') ?? '[]') as string[];
}

export function describeTarget(identity: TargetIdentity, content: readonly string[]): TargetDescription {
  const { kind, description, path, model, serial, byId, sizeBytes, logicalSectorBytes } = identity;
  const sectorBytes = kind === 'device' ? logicalSectorBytes : null;
  return { description, path, model, serial, byId, size: sizeBytes, sectorBytes, content };
}

/**
 * A target inside the state folder would overwrite journals and keys, or vanish with the folder. A state
 * folder on the target disk needs no check: mounted disks are refused.
 * @throws TransferError `target-refused`.
 */
export async function refuseInStateDir(target: string, stateDir: string): Promise<void> {
  const path = resolve(target);
  const [folder, state] = await Promise.all(
    [dirname(path), stateDir].map(async (each) => await realpath(each).catch(() => each)),
  );
  if (folder !== state && folder?.startsWith(`${state}/`) !== true) return;
  throw new TransferError(
    'target-refused',
    `cannot write to ${path}: it is in the state folder ${stateDir}`,
    {
      hint: 'name a file in another folder, or another --state-dir',
    },
  );
}
