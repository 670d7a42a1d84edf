/** The operations that write to the target: one block, or ranges of zeros. */
import assert from 'node:assert/strict';
import { SECTOR_BYTES, SOURCE_ERROR_RANGES_MAX, isSameAreas, type Area } from '../../common/areas.ts';
import { digestMember } from '../../common/digest/digest-names.ts';
import { TransferError } from '../../common/errors.ts';
import { othersTurn } from '../../common/event-loop.ts';
import { lengthOf, offsetOf, type BlockIndex } from '../../common/geometry.ts';
import type { BlockResult, ZeroResult } from '../../common/protocol/protocol.ts';
import { countOf, formatBlocks, rangesOf, type Range } from '../../common/ranges.ts';
import type { WritePermit } from '../durability/durability.ts';
import { isZero } from '../../common/io/zeros.ts';
import { UNREADABLE_TOTAL_MAX } from '../durability/unreadable-areas.ts';
import { refuseOtherBytes, refuseOtherZeros } from './repaired-block.ts';
import { lengthMismatch } from './refusals.ts';
import type { OpenTransfer, Transfer } from './transfer.ts';

/** Blocks of zeros in one write: each takes time to be looked up, invalidated and recorded. */
const ZERO_CHUNK_BLOCKS = 1024;
/** Requests for more blocks take turns with each other. */
const ZERO_BLOCKS_AT_ONCE = 64;
/** What a range takes besides, in blocks. */
const RANGE_WORK = 16;

/**
 * Writes one block whose digest has been checked. The caller leaves `bytes` alone until it resolves.
 * @param block.bytes exactly the block, as long as it was when the request came; or how many there are, where
 * the target holds them under their digest already.
 * @param block.digest 32 bytes, of `bytes`.
 * @param block.unreadable its unreadable areas, recorded with the block.
 * @param block.isFlushed resolve only once the block is durable.
 * @throws TransferError `sealed`, `length-mismatch`, `block-out-of-range`, `bad-request`, `too-many-areas`,
 * `io-error`, `no-space`, `journal-error`.
 */
export async function writeBlock(
  transfer: Transfer,
  block: {
    index: BlockIndex;
    bytes: Buffer | { readonly length: number };
    digest: Buffer;
    unreadable?: readonly Area[];
    isFlushed: boolean;
  },
): Promise<{ receipt: BlockResult; isNew: boolean }> {
  const { index, bytes, digest, unreadable = [] } = block;
  const open = transfer.writable();
  const offset = offsetOf(index, open.geometry);
  const sent = Buffer.isBuffer(bytes) ? bytes : undefined;
  if (sent !== undefined) refuseFilledAreas(sent, unreadable, offset);
  refuseTooManyAreas(open, index, unreadable);
  let isNew = false;
  let { resizeCount } = open;
  const written = await underLock(open, [index, 1], async () => {
    // The transfer may have been sealed, or its size fixed, since the head of the request was read.
    refuseStale(transfer, open);
    refuseCutOff(open, [index, 1]);
    if (bytes.length !== lengthOf(index, open.geometry)) {
      throw lengthMismatch(lengthOf(index, open.geometry), bytes.length);
    }
    if (sent !== undefined) await refuseOtherBytes(transfer, open, { index, bytes: sent, unreadable });
    isNew = open.table.stateOf(index) === 'absent';
    ({ resizeCount } = open);
    return await writeNeeded(open, [index, 1], { digestOf: () => digest, unreadable }, async () => {
      if (sent !== undefined) await transfer.target.write(sent, offset, digest);
    });
  });
  if (block.isFlushed) {
    await flushTo(open, written.generation, written.epoch);
    // A claim of another size, which came during the flush, may have forgotten it.
    if (open.resizeCount !== resizeCount) throw epochEnded();
  }
  return {
    isNew,
    receipt: {
      transferId: transfer.id,
      epoch: written.epoch,
      index,
      offset,
      length: bytes.length,
      ...digestMember(open.digest.algorithm, digest),
      state: block.isFlushed || !written.isWritten ? 'durable' : 'written',
      generation: written.generation,
    },
  };
}

/** Fills whole blocks with zeros. @param ranges within the transfer. @throws as {@link writeBlock}. */
export async function writeZeroBlocks(
  transfer: Transfer,
  ranges: readonly Range[],
  isFlushed: boolean,
): Promise<ZeroResult> {
  const open = transfer.writable();
  let generation = 0;
  let { epoch } = open.durability;
  const isLong = countOf(ranges) > ZERO_BLOCKS_AT_ONCE;
  let work = 0;
  for (const range of ranges.flatMap(inChunks)) {
    using _turn = isLong ? await open.zeroTurns.take() : undefined;
    // Zeros that are there already need no I/O, which would let others have their turn.
    work += range[1] + RANGE_WORK;
    if (work > ZERO_CHUNK_BLOCKS) {
      work = 0;
      await othersTurn();
    }
    const written = await underLock(open, range, async () => {
      refuseStale(transfer, open);
      refuseCutOff(open, range);
      refuseOtherZeros(transfer, open, range);
      return await writeNeeded(
        open,
        range,
        { digestOf: (index) => open.zeroDigests.of(index), unreadable: [] },
        async (at, length) => await transfer.target.writeZeros(at, length),
      );
    });
    if (generation > 0 && written.epoch !== epoch) throw epochEnded();
    // A range that needed no write has the published generation, which is lower than that of a new write.
    generation = Math.max(generation, written.generation);
    ({ epoch } = written);
  }
  if (isFlushed) await flushTo(open, generation, epoch);
  return { transferId: transfer.id, epoch, ranges, state: isFlushed ? 'durable' : 'written', generation };
}

/** Of a long range, parts that take some ten milliseconds of the only thread each. */
function inChunks([first, count]: Range): Range[] {
  const starts = Array.from(
    { length: Math.ceil(count / ZERO_CHUNK_BLOCKS) },
    (_, at) => at * ZERO_CHUNK_BLOCKS,
  );
  return starts.map((start): Range => [first + start, Math.min(ZERO_CHUNK_BLOCKS, count - start)]);
}

/** While an operation waited for the lock, an update may have given the transfer another size. */
export function refuseStale(transfer: Transfer, open: OpenTransfer): void {
  if (transfer.writable() === open) return;
  throw new TransferError('io-error', 'the size of the transfer has changed in the meantime');
}

/** The receipt promises zeros in their place. */
function refuseFilledAreas(bytes: Buffer, areas: readonly Area[], start: number): void {
  // With so many the nearest were joined, and what was read in between is in its place.
  const isJoined = areas.length === SOURCE_ERROR_RANGES_MAX;
  for (const [offset, length] of areas) {
    const area = bytes.subarray(offset - start, offset - start + length);
    const ends = [area.subarray(0, SECTOR_BYTES), area.subarray(-SECTOR_BYTES)];
    if ((isJoined ? ends : [area]).every(isZero)) continue;
    const what = `${offset}+${length} holds other bytes than zeros`;
    throw new TransferError('bad-request', `cannot use Ddt-Source-Errors: ${what}`);
  }
}

function refuseTooManyAreas({ table }: OpenTransfer, index: number, areas: readonly Area[]): void {
  const { unreadable } = table;
  const total = unreadable.count - unreadable.of(index).length + areas.length;
  if (areas.length === 0 || total <= UNREADABLE_TOTAL_MAX) return;
  throw new TransferError(
    'too-many-areas',
    `the source has more than ${UNREADABLE_TOTAL_MAX} unreadable areas: the receiver records no more of them`,
    { hint: 'rescue the disk with ddrescue first, and send its image: what is on the target is kept' },
  );
}

/** A pipe may have ended, and its size been fixed, while this write waited for the lock. */
function refuseCutOff({ blockCount }: OpenTransfer, [first, count]: Range): void {
  if (first + count <= blockCount) return;
  throw new TransferError(
    'block-out-of-range',
    `no block ${first + count - 1}: the source has ended, the transfer has ${blockCount} blocks`,
  );
}

async function underLock<Result>(
  open: OpenTransfer,
  range: Range,
  work: () => Promise<Result>,
): Promise<Result> {
  using _lock = await open.locks.lock(range[0], range[1]);
  return await work();
}

/** What blocks shall hold. */
interface Content {
  readonly digestOf: (index: number) => Buffer;
  readonly unreadable: readonly Area[];
}

/**
 * Writes the blocks that differ. One that is durable with the same digest is left alone: a resumed sender
 * sends blocks that became durable after its listing, and writing them again would make them absent for a
 * while. Only their unreadable areas may change.
 */
async function writeNeeded(
  open: OpenTransfer,
  [first, count]: Range,
  content: Content,
  writeTarget: (offset: number, lengthBytes: number) => Promise<void>,
): Promise<{ generation: number; epoch: string; isWritten: boolean }> {
  const { durability, geometry, table } = open;
  const isPresent = (index: number): boolean =>
    table.isDurable(index) && table.digestOf(index).equals(content.digestOf(index));
  const needed: number[] = [];
  for (let index = first; index < first + count; index++) {
    if (!isPresent(index)) needed.push(index);
    else if (!isSameAreas(table.unreadable.of(index), content.unreadable)) {
      durability.recordUnreadable(index, content.unreadable);
    }
  }
  const { epoch } = durability;
  let generation = durability.durableGeneration;
  for (const [from, length] of rangesOf(needed)) {
    const offset = from * geometry.blockSizeBytes;
    const lengthBytes = Math.min(geometry.sizeBytes, (from + length) * geometry.blockSizeBytes) - offset;
    assert(lengthBytes > 0 && offset + lengthBytes <= geometry.sizeBytes);
    const indexes = Array.from({ length }, (_, at) => from + at);
    const written = await write(open, indexes, content, lengthBytes, async () => {
      await writeTarget(offset, lengthBytes);
    });
    if (written.epoch !== epoch) throw epochEnded();
    ({ generation } = written);
  }
  return { generation, epoch, isWritten: needed.length > 0 };
}

/**
 * Announce, write, record: this order keeps the journal true at any moment. Without any index it is a change
 * of the target that the next flush must cover.
 */
export async function write(
  { durability, table, verifier }: OpenTransfer,
  indexes: readonly number[],
  content: Content,
  lengthBytes: number,
  writeTarget: () => Promise<void>,
): Promise<{ generation: number; epoch: string }> {
  const permit: WritePermit = durability.announce(indexes);
  try {
    await writeTarget();
  } catch (error) {
    const failure = failedWrite(indexes, error);
    durability.failWrite(permit, failure);
    throw failure;
  } finally {
    // Also one that has failed, or that the next one replaces before it is durable.
    verifier?.noteOwnWrites();
  }
  const { digestOf, unreadable } = content;
  const generation = durability.finishWrite(permit, digestOf, lengthBytes);
  // In the same turn of the event loop: a flush that starts now journals them with their blocks.
  for (const index of indexes) table.setUnreadable(index, unreadable);
  return { generation, epoch: permit.epoch };
}

/** Names the blocks: the target's own error knows offsets only. */
function failedWrite(indexes: readonly number[], error: unknown): TransferError {
  const blocks = indexes.length === 0 ? 'the end' : formatBlocks(rangesOf(indexes));
  if (!(error instanceof TransferError))
    return new TransferError('io-error', `${blocks}: ${String(error)}`, { cause: error });
  const { code, message, details, hint } = error;
  const options = { cause: error, details, ...(hint === undefined ? {} : { hint }) };
  return new TransferError(code, `${blocks}: ${message}`, options);
}

async function flushTo({ durability }: OpenTransfer, generation: number, epoch: string): Promise<void> {
  await durability.flush();
  if (durability.epoch !== epoch || durability.durableGeneration < generation) throw epochEnded();
}

function epochEnded(): TransferError {
  return new TransferError(
    'io-error',
    'the target failed to write or flush in the meantime: send the block again',
  );
}
