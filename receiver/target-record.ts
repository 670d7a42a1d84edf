/** What the journal keeps of the target, and what senders and receipts are told of it. */
import type { TargetDescription } from '../common/protocol.ts';
import type { Journal } from './journal.ts';
import type { TargetIdentity } from './target.ts';

/** Parts of the content that are named; a disk has up to 128 partitions, an answer an end. */
const CONTENT_MAX = 64;

/** Properties of the journal. @param content what was on the target before the first write. */
export function recordOf(identity: TargetIdentity, content: readonly string[]): Record<string, string> {
  const more = content.length - CONTENT_MAX;
  const kept = more > 0 ? [...content.slice(0, CONTENT_MAX), `and ${more} more`] : content;
  return { targetIdentity: JSON.stringify(identity), targetContent: JSON.stringify(kept) };
}

/** Of a journal that was begun by an earlier version: nothing. */
export function recordedContent(journal: Journal): readonly string[] {
  return JSON.parse(journal.property('targetContent') ?? '[]') as string[];
}

export function describeTarget(identity: TargetIdentity, content: readonly string[]): TargetDescription {
  const { kind, description, path, model, serial, byId, sizeBytes, logicalSectorBytes } = identity;
  const sectorBytes = kind === 'device' ? logicalSectorBytes : null;
  return { description, path, model, serial, byId, size: sizeBytes, sectorBytes, content };
}
