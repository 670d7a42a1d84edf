/**
 * Brings a target and its journal together: refuses what must not be written, finds the transfer to resume,
 * or begins one. Nothing is written to the target, and a refused one leaves nothing in the state folder.
 */
import { existsSync } from 'node:fs';
import type { DiskPlaces } from '../common/disk/disk-places.ts';
import type { FormatChoice } from '../common/nbd/image-format.ts';
import type { SqliteJournal } from './journal/sqlite-journal.ts';
import {
  findJournalOf,
  journalPathOf,
  openJournal,
  refuseJournalInUse,
  removeJournal,
  type FoundJournal,
} from './journals.ts';
import { findTarget, targetPathOf } from './open-target.ts';
import { refuseContent, type FoundTarget } from './target/found-target.ts';
import { identityDifference } from './target/target-identity.ts';
import { refusal } from './target/target-safety.ts';
import type { Target } from './target/target.ts';
import { propertiesOf } from './transfer/shared-transfer.ts';
import { recordOf, recordedIdentity } from './transfer/target-record.ts';

export interface TakenTarget extends AsyncDisposable {
  readonly target: Target;
  readonly journal: SqliteJournal;
  readonly places: DiskPlaces;
  /** What is on the target now, in words. */
  readonly content: readonly string[];
  /** A sender has claimed it before. */
  readonly isResumed: boolean;
  /** The other name under which the transfer began. */
  readonly begunAs: string | undefined;
}

export interface TakeOptions {
  readonly target: string;
  readonly format: FormatChoice;
  /** Of a target in an object store. */
  readonly s3Endpoint: string | undefined;
  readonly overwriteTarget: boolean;
  readonly discardTransfer: boolean;
  /** What the target holds is taken over: it may be overwritten where the source differs. */
  readonly isAdoption: boolean;
  /** Durable blocks may be discarded. */
  readonly isConfirmed: boolean;
  /** Asked before durable blocks are discarded. @throws TransferError to keep them. */
  readonly confirmDiscard: (progress: LostProgress) => Promise<void>;
}

export interface LostProgress {
  readonly path: string;
  readonly durableBlocks: number;
  readonly isSealed: boolean;
}

export function lossText({ path, durableBlocks, isSealed }: LostProgress): string {
  return isSealed
    ? `the receipt of the complete copy on ${path}`
    : `the progress of the transfer onto ${path}: ${durableBlocks} durable blocks`;
}

/** @throws TransferError of every kind that a start may be refused with. */
export async function takeTarget(options: TakeOptions, stateDir: string): Promise<TakenTarget> {
  await using inspected = new AsyncDisposableStack();
  await using stack = new AsyncDisposableStack();
  const find: Find = async (recordedKind) => {
    const { target, format, s3Endpoint } = options;
    return inspected.use(await findTarget(target, stateDir, { format, recordedKind, s3Endpoint }));
  };
  const { found, match } = options.discardTransfer
    ? await takeAnew(options, stateDir, find)
    : await takeAgain(options, stateDir, find);
  let { journal } = match;
  stack.defer(() => journal.close());
  const hasBegun = journal.property('claim') !== undefined;
  if (hasBegun) refuseOther(journal, found);
  const isAllowed = options.overwriteTarget || options.isAdoption;
  if (!isAllowed && !(hasBegun && isSurelyResumed(match))) refuseContent(found);
  const { target, places } = await found.open();
  stack.defer(async () => await target.close());
  if (target.store !== undefined) {
    const record = await target.store.join(options.discardTransfer);
    if (journal.property('transferId') !== record.transferId) journal = await replaceJournal(journal);
    journal.setProperties({ ...recordOf(target.identity, []), ...propertiesOf(record) });
  }
  const isResumed = journal.property('claim') !== undefined;
  if (!isResumed && journal.property('targetIdentity') !== undefined) {
    // Nothing was written yet: whatever has this name now is the target.
    journal.setProperties(recordOf(target.identity, found.content));
  }
  const owned = stack.move();
  return {
    target,
    places,
    journal,
    content: found.content,
    isResumed,
    begunAs: isResumed && match.begunAs !== found.identity.path ? match.begunAs : undefined,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** The transfer is that of the store, which any receiver may have begun: this journal is of another one. */
async function replaceJournal(journal: SqliteJournal): Promise<SqliteJournal> {
  journal.close();
  await removeJournal(journal.path);
  return await openJournal(journal.path);
}

/** @param recordedKind of the target that the journal of this name has begun with. */
type Find = (recordedKind: string | undefined) => Promise<FoundTarget>;

interface Taken {
  readonly found: FoundTarget;
  readonly match: FoundJournal;
}

/** The journal that the target's name leads to, one that the target had under another name, or a new one. */
async function takeAgain(options: TakeOptions, stateDir: string, find: Find): Promise<Taken> {
  const path = targetPathOf(options.target);
  const ownPath = journalPathOf(path, stateDir);
  // Opened first: a journal in use names the other receiver, which says more than a target in use.
  const own = existsSync(ownPath) ? await openJournal(ownPath) : undefined;
  try {
    const recorded = own === undefined ? undefined : recordedIdentity(own);
    // Before a sender has claimed it, whatever has this name now is the target.
    const isBegun = own?.property('claim') !== undefined;
    const found = await find(isBegun ? recorded?.kind : undefined);
    const isOwn = recorded !== undefined && identityDifference(recorded, found.identity) === undefined;
    const other = isOwn ? undefined : await findJournalOf(found, stateDir, ownPath);
    if (other !== undefined) {
      own?.close();
      return { found, match: other };
    }
    if (own === undefined && !options.overwriteTarget && !options.isAdoption) refuseContent(found);
    const journal = own ?? (await openJournal(ownPath));
    return { found, match: { journal, likeness: 'same', begunAs: path } };
  } catch (error) {
    own?.close();
    throw error;
  }
}

/** `--discard-transfer`: a new journal in place of all that the target has, under any name. */
async function takeAnew(options: TakeOptions, stateDir: string, find: Find): Promise<Taken> {
  const path = targetPathOf(options.target);
  const ownPath = journalPathOf(path, stateDir);
  await refuseJournalInUse(ownPath);
  const found = await find(undefined);
  const lost = await lossOf(path, ownPath);
  if (!options.overwriteTarget && !options.isAdoption) {
    // All at once: one option after the other would be asked for.
    refuseContent(found, lost === undefined || options.isConfirmed ? undefined : lossText(lost));
  }
  if (lost !== undefined) await options.confirmDiscard(lost);
  await removeJournal(ownPath);
  for (;;) {
    const other = await findJournalOf(found, stateDir, ownPath);
    if (other === undefined) break;
    other.journal.close();
    await removeJournal(other.journal.path);
  }
  const journal = await openJournal(ownPath);
  return { found, match: { journal, likeness: 'same', begunAs: path } };
}

/** @returns undefined where no block is durable. A journal that can't be read has nothing to lose. */
async function lossOf(path: string, journalPath: string): Promise<LostProgress | undefined> {
  if (!existsSync(journalPath)) return undefined;
  const journal = await openJournal(journalPath).catch(() => undefined);
  if (journal === undefined) return undefined;
  let durableBlocks = 0;
  let isSealed = false;
  try {
    for (const _ of journal.blocks()) durableBlocks++;
    isSealed = journal.property('receipt') !== undefined;
  } catch {
    return undefined;
  } finally {
    journal.close();
  }
  return durableBlocks === 0 ? undefined : { path, durableBlocks, isSealed };
}

/** @throws TransferError `target-refused` where the journal is of another target, or its file is gone. */
function refuseOther(journal: SqliteJournal, { identity, isAbsent, content }: FoundTarget): void {
  const { path } = identity;
  const options = ['--discard-transfer', ...(content.length === 0 ? [] : ['--overwrite-target'])].join(' ');
  const loss = listsBlocks(journal) ? ', and --yes where nobody can be asked' : '';
  const startOver = `to start over, run the same command again with ${options}${loss}`;
  if (isAbsent) {
    throw refusal(`cannot resume: ${path} does not exist any more`, `restore that file, or ${startOver}`);
  }
  const recorded = recordedIdentity(journal);
  const difference = recorded === undefined ? undefined : identityDifference(recorded, identity);
  if (difference === undefined) return;
  const message = `${path} is not the target that this transfer began with: ${difference}`;
  throw refusal(message, `name the right target, or ${startOver}`);
}

/**
 * Whether the content of the target may be what the transfer has written. Two disks can have the same serial
 * number: if nothing else is known, the journal must list blocks, which are then compared.
 */
export function isSurelyResumed({ journal, likeness }: FoundJournal): boolean {
  return likeness === 'same' || listsBlocks(journal);
}

function listsBlocks(journal: SqliteJournal): boolean {
  for (const _ of journal.blocks()) return true;
  return false;
}
