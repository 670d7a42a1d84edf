/** A transfer that waits for its claim, over a journal and a target that note every call. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { systemClock } from '../../common/clock.ts';
import { DIGESTS, digestNow } from '../../common/digest/digest.ts';
import { blockIndexOf } from '../../common/geometry.ts';
import type { Journal } from '../../receiver/journal/journal.ts';
import { SqliteJournal } from '../../receiver/journal/sqlite-journal.ts';
import type { Target } from '../../receiver/target/target.ts';
import { Transfer } from '../../receiver/transfer/transfer.ts';
import { writeBlock } from '../../receiver/transfer/write-block.ts';
import { MemoryTarget } from './memory-target.ts';
import { BLOCK_BYTES, fastTempDir } from './open-transfer.ts';
import { prng } from './prng.ts';
import { recordedJournal, recordedTarget } from './recorded.ts';

/** Of MemoryTarget. */
export const ROOM_BYTES = 16 * 1024 * 1024;
const SOURCE = { description: 'a pipe', path: 'standard input', model: null, serial: null };
/** A pipe's claim. */
export const UNKNOWN = { size: null, blockSize: BLOCK_BYTES, source: SOURCE, stream: true };

export interface Unclaimed extends AsyncDisposable {
  readonly transfer: Transfer;
  readonly target: MemoryTarget;
  /** `prepare`, `set claim`, `flush`, … */
  readonly notes: string[];
  /** Another process over the same journal and target. */
  restarted(): Transfer;
  put(transfer: Transfer, index: number, lengthBytes?: number): Promise<void>;
}

/** @param onNote may throw instead of the call. */
export async function unclaimed(onNote: (text: string) => void = () => {}): Promise<Unclaimed> {
  const folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  const target = new MemoryTarget();
  const notes: string[] = [];
  const note = (text: string): void => {
    onNote(text);
    notes.push(text);
  };
  const open: Transfer[] = [];
  const restarted = (): Transfer => {
    const transfer = transferOver(recordedJournal(journal, note), recordedTarget(target, note));
    open.push(transfer);
    return transfer;
  };
  return {
    transfer: restarted(),
    target,
    notes,
    restarted,
    put: async (transfer, index, lengthBytes = BLOCK_BYTES) => {
      const bytes = prng(index).bytes(lengthBytes);
      const block = {
        index: blockIndexOf(index, transfer.claimed().geometry),
        bytes,
        digest: digestNow(bytes),
      };
      await writeBlock(transfer, { ...block, isFlushed: true });
    },
    async [Symbol.asyncDispose]() {
      for (const transfer of open) transfer.opened?.durability.close();
      journal.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function transferOver(journal: Journal, target: Target): Transfer {
  return new Transfer({
    target,
    journal,
    memoryBytes: 1,
    connectionsMax: 7,
    isReadBack: false,
    clock: systemClock,
    digests: DIGESTS,
    events: { onJournalBroken: () => assert.fail('the journal is whole') },
  });
}
