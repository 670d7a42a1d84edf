/** A claimed transfer over any target, with the real journal in a temporary folder; small blocks. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { statfsSync } from 'node:fs';
import { systemClock, type Clock } from '../../common/clock.ts';
import { DIGESTS, digestNow } from '../../common/digest/digest.ts';
import type { TransferError } from '../../common/errors.ts';
import { blockIndexOf, lengthOf, offsetOf } from '../../common/geometry.ts';
import type { BlockResult, SizedClaim } from '../../common/protocol/protocol.ts';
import { claimTransfer } from '../../receiver/transfer/claim.ts';
import type { Journal } from '../../receiver/journal/journal.ts';
import { SqliteJournal } from '../../receiver/journal/sqlite-journal.ts';
import type { Target } from '../../receiver/target/target.ts';
import { Transfer, type OpenTransfer } from '../../receiver/transfer/transfer.ts';
import { writeBlock } from '../../receiver/transfer/write-block.ts';
import { MemoryTarget } from './memory-target.ts';
import { prng } from './prng.ts';
import type { TempDir } from './temp-dir.ts';

export const BLOCK_BYTES = 64 * 1024;
/** The last block is short. */
export const LAST_BYTES = 1000;

/** @param blockCount the last one is short. */
export function claimOf(blockCount: number): SizedClaim {
  return {
    size: (blockCount - 1) * BLOCK_BYTES + LAST_BYTES,
    blockSize: BLOCK_BYTES,
    source: { description: 'a test disk', path: '/dev/test', model: 'Test', serial: 'T1' },
  };
}

/** Where syncing costs nothing, for tests that commit thousands of times. */
export async function fastTempDir(): Promise<TempDir> {
  const base = isTmpfs('/dev/shm') ? '/dev/shm' : tmpdir();
  const path = await mkdtemp(join(base, 'ddt-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function isTmpfs(path: string): boolean {
  try {
    // TMPFS_MAGIC, statfs(2)
    return statfsSync(path).type === 0x01021994;
  } catch {
    return false;
  }
}

export interface TestTransfer extends AsyncDisposable {
  readonly transfer: Transfer;
  readonly open: OpenTransfer;
  readonly journal: Journal;
  readonly epochEnds: { readonly error: TransferError; readonly lostBlocks: number }[];
  readonly brokenJournals: TransferError[];
  /** Blocks that read back wrong. */
  readonly mismatches: number[];
  /** Bytes that others are said to have written; null where that is not known. */
  readonly foreignWrites: (number | null)[];
}

export interface TestTransferOptions {
  readonly target?: Target;
  /** Default: a new one in a folder that goes away with the transfer. */
  readonly journal?: Journal;
  readonly blockCount?: number;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Default: an ordinary claim of so many blocks. */
  readonly claim?: (transfer: Transfer) => Promise<void>;
  /** Default: durable is enough. */
  readonly isReadBack?: boolean;
}

export async function openTransfer(options: TestTransferOptions = {}): Promise<TestTransfer> {
  const folder = await fastTempDir();
  const journal = options.journal ?? (await SqliteJournal.open(join(folder.path, 'journal.db')));
  const epochEnds: { error: TransferError; lostBlocks: number }[] = [];
  const brokenJournals: TransferError[] = [];
  const mismatches: number[] = [];
  const foreignWrites: (number | null)[] = [];
  const transfer = new Transfer({
    target: options.target ?? new MemoryTarget(),
    journal,
    memoryBytes: 8 * BLOCK_BYTES,
    connectionsMax: 4,
    isReadBack: options.isReadBack ?? false,
    clock: options.clock ?? systemClock,
    digests: DIGESTS,
    events: {
      onEpochEnd: (error, lostBlocks) => epochEnds.push({ error, lostBlocks }),
      onJournalBroken: (error) => brokenJournals.push(error),
      onMismatch: (index) => mismatches.push(index),
      onForeignWrite: (bytes) => foreignWrites.push(bytes),
    },
  });
  if (transfer.opened === undefined) {
    if (options.claim !== undefined) await options.claim(transfer);
    else await claimTransfer(transfer, claimOf(options.blockCount ?? 8));
  }
  const open = transfer.claimed();
  return {
    transfer,
    open,
    journal,
    epochEnds,
    brokenJournals,
    mismatches,
    foreignWrites,
    async [Symbol.asyncDispose]() {
      open.durability.close();
      await open.verifier?.stop();
      if (options.journal === undefined) journal.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The bytes of a block; each version has its own. Version 0 is all zeros. */
export function contentOf(open: OpenTransfer, index: number, version: number): Buffer {
  const length = lengthOf(blockIndexOf(index, open.geometry), open.geometry);
  return version === 0 ? Buffer.alloc(length) : prng(index * 1000 + version).bytes(length);
}

export async function putBlock(
  { transfer, open }: TestTransfer,
  index: number,
  version: number,
  isFlushed = false,
): Promise<BlockResult> {
  const bytes = contentOf(open, index, version);
  const block = { index: blockIndexOf(index, open.geometry), bytes, digest: digestNow(bytes), isFlushed };
  return (await writeBlock(transfer, block)).receipt;
}

/** Lets everything on a target in memory go on that does not stand before a gate. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Block numbers that the journal lists, each with the hex digest. */
export function listedIn(journal: Journal): Map<number, string> {
  return new Map([...journal.blocks()].map(({ index, digest }) => [index, digest.toString('hex')]));
}

/** Hex digest of what the target holds in place of a block. */
export function digestOn(target: MemoryTarget, { geometry }: OpenTransfer, index: number): string {
  const block = blockIndexOf(index, geometry);
  return digestNow(target.bytesAt(offsetOf(block, geometry), lengthOf(block, geometry))).toString('hex');
}
