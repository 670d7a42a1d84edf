/** A transfer in a few lines, for `ddt-receive --list`. */
import { blockCountOf } from '../common/geometry.ts';
import type { Claim, SourceDescription, TransferStatus } from '../common/protocol/protocol.ts';
import type { Journal } from './journal/journal.ts';
import type { TargetIdentity } from './target/target.ts';
import { recordedClaim } from './transfer/journal-objects.ts';
import { recordedIdentity } from './transfer/target-record.ts';
import type { Transfer } from './transfer/transfer.ts';

export interface TransferSummary {
  readonly state: TransferStatus['state'];
  readonly target: Pick<TargetIdentity, 'path' | 'byId' | 'description' | 'serial' | 'sizeBytes'> | null;
  readonly source: SourceDescription | null;
  /** Of the source; null before the claim, and for a pipe that has not ended. */
  readonly sizeBytes: number | null;
  readonly blockCount: number | null;
  readonly durableBlocks: number;
}

/** Of a transfer that this process runs. */
export function summarize({ target, opened, sealed }: Transfer): TransferSummary {
  const count = (opened?.table.countOf('durable') ?? 0) + (opened?.table.countOf('verified') ?? 0);
  const state = sealed !== undefined ? 'sealed' : opened === undefined ? 'unclaimed' : 'open';
  return { state, target: namesOf(target.identity), ...claimFacts(opened?.claim), durableBlocks: count };
}

/** Of a journal that no receiver has open. @throws TransferError `state-refused` where it is damaged. */
export function summarizeJournal(journal: Journal): TransferSummary {
  const identity = recordedIdentity(journal);
  const claim = recordedClaim(journal);
  const isSealed = journal.property('receipt') !== undefined;
  let durableBlocks = 0;
  for (const _ of journal.blocks()) durableBlocks++;
  return {
    state: isSealed ? 'sealed' : claim === undefined ? 'unclaimed' : 'open',
    target: identity === undefined ? null : namesOf(identity),
    ...claimFacts(claim),
    durableBlocks,
  };
}

function namesOf({ path, byId, description, serial, sizeBytes }: TargetIdentity): TransferSummary['target'] {
  return { path, byId, description, serial, sizeBytes };
}

function claimFacts(claim: Claim | undefined): Pick<TransferSummary, 'source' | 'sizeBytes' | 'blockCount'> {
  if (claim === undefined) return { source: null, sizeBytes: null, blockCount: null };
  const { source, size, blockSize } = claim;
  const blockCount = size === null ? null : blockCountOf({ sizeBytes: size, blockSizeBytes: blockSize });
  return { source, sizeBytes: size, blockCount };
}
