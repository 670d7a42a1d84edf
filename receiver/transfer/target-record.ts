/** What the journal keeps of the target, and what senders see of it. */
import type { TargetDescription } from '../../common/protocol/protocol.ts';
import { printable } from '../../common/text.ts';
import type { Journal } from '../journal/journal.ts';
import type { Target, TargetIdentity } from '../target/target.ts';
import { damaged, isNamed, recordedObject } from './journal-objects.ts';

/** A disk has up to 128 partitions; the status that a sender asks for stays short. */
const CONTENT_MAX = 64;

/** Properties for the journal. @param content what the target held before the first write. */
export function recordOf(identity: TargetIdentity, content: readonly string[]): Record<string, string> {
  const more = content.length - CONTENT_MAX;
  const kept = more > 0 ? [...content.slice(0, CONTENT_MAX), `and ${more} more`] : content;
  return { targetIdentity: JSON.stringify(identity), targetContent: JSON.stringify(kept) };
}

/** undefined in a journal that no transfer has begun in. @throws TransferError `state-refused`. */
export function recordedIdentity(journal: Journal): TargetIdentity | undefined {
  const identity = recordedObject(journal, 'targetIdentity');
  if (identity !== undefined && !isNamed(identity)) throw damaged(journal, 'targetIdentity');
  return identity as TargetIdentity | undefined;
}

/** Empty in a journal that an earlier version began. @throws TransferError `state-refused`. */
export function recordedContent(journal: Journal): readonly string[] {
  const content = Object.values(recordedObject(journal, 'targetContent') ?? {});
  return content.filter((words) => typeof words === 'string');
}

export function describeTarget(target: Target, content: readonly string[]): TargetDescription {
  const { description, path, model, serial, byId, sizeBytes } = target.identity;
  const { sectorBytes } = target;
  const shown = (text: string | null): string | null => (text === null ? null : printable(text));
  return {
    description: printable(description),
    path: printable(path),
    model: shown(model),
    serial: shown(serial),
    byId: shown(byId),
    size: sizeBytes,
    sectorBytes,
    content: content.map((text) => printable(text)),
  };
}
