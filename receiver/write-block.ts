/** The operations that change the target: one block, or ranges of zeros. No HTTP here. */
import assert from 'node:assert/strict';
import { TransferError } from '../common/errors.ts';
import { lengthOf, offsetOf, type BlockIndex } from '../common/geometry.ts';
import type { BlockReceipt, ZeroReceipt } from '../common/protocol.ts';
import { formatBlocks, rangesOf, type Range } from '../common/ranges.ts';
import type { WritePermit } from './durability.ts';
import type { OpenTransfer, Transfer } from './transfer.ts';

/**
 * Writes one block whose digest has been checked; the caller keeps `bytes` unchanged until it resolves.
 * @param bytes exactly the block. @param digest 32 bytes, of `bytes`.
 * @param isFlushed wait until the block is durable.
 * @throws TransferError `sealed`, `io-error`, `no-space`, `journal-error`.
 */
export async function writeBlock(
  transfer: Transfer,
  block: { index: BlockIndex; bytes: Buffer; digest: Buffer; isFlushed: boolean },
): Promise<{ receipt: BlockReceipt; isNew: boolean }> {
  const { index, bytes, digest } = block;
  const open = transfer.writable();
  const offset = offsetOf(index, open.geometry);
  assert.equal(bytes.length, lengthOf(index, open.geometry));
  let isNew = false;
  const written = await underLock(open, [index, 1], async () => {
    // A seal may have come while this block waited for its turn.
    transfer.writable();
    isNew = open.table.stateOf(index) === 'absent';
    return await writeNeeded(
      open,
      [index, 1],
      () => digest,
      async () => await transfer.target.write(bytes, offset),
    );
  });
  if (block.isFlushed) await flushTo(open, written.generation, written.epoch);
  return {
    isNew,
    receipt: {
      transferId: transfer.id,
      epoch: written.epoch,
      index,
      offset,
      length: bytes.length,
      sha256: digest.toString('hex'),
      state: block.isFlushed || !written.isWritten ? 'durable' : 'written',
      generation: written.generation,
    },
  };
}

/** Makes whole blocks zero. @param ranges within the transfer. @throws as {@link writeBlock}. */
export async function writeZeroBlocks(
  transfer: Transfer,
  ranges: readonly Range[],
  isFlushed: boolean,
): Promise<ZeroReceipt> {
  const open = transfer.writable();
  let generation = 0;
  let { epoch } = open.durability;
  for (const range of ranges) {
    const written = await underLock(open, range, async () => {
      transfer.writable();
      return await writeNeeded(
        open,
        range,
        (index) => open.zeroDigests.of(index),
        async (at, length) => await transfer.target.writeZeros(at, length),
      );
    });
    if (generation > 0 && written.epoch !== epoch) throw epochEnded();
    // A range that was there already names the published generation, which is behind that of a new write.
    generation = Math.max(generation, written.generation);
    ({ epoch } = written);
  }
  if (isFlushed) await flushTo(open, generation, epoch);
  return { transferId: transfer.id, epoch, ranges, state: isFlushed ? 'durable' : 'written', generation };
}

async function underLock<Result>(
  open: OpenTransfer,
  range: Range,
  work: () => Promise<Result>,
): Promise<Result> {
  using _lock = await open.locks.lock(range[0], range[1]);
  return await work();
}

/**
 * Writes what is not there already. A block that is durable with this very digest is left alone: a sender
 * that was started again sends blocks that became durable after its listing, and writing them anew would make
 * them absent for a while.
 */
async function writeNeeded(
  open: OpenTransfer,
  [first, count]: Range,
  digestOf: (index: number) => Buffer,
  writeTarget: (offset: number, lengthBytes: number) => Promise<void>,
): Promise<{ generation: number; epoch: string; isWritten: boolean }> {
  const { durability, geometry, table } = open;
  const isThere = (index: number): boolean =>
    table.isDurable(index) && table.digestOf(index).equals(digestOf(index));
  const needed = Array.from({ length: count }, (_, at) => first + at).filter((index) => !isThere(index));
  const { epoch } = durability;
  let generation = durability.durableGeneration;
  for (const [from, length] of rangesOf(needed)) {
    const offset = from * geometry.blockSizeBytes;
    const lengthBytes = Math.min(geometry.sizeBytes, (from + length) * geometry.blockSizeBytes) - offset;
    assert(lengthBytes > 0 && offset + lengthBytes <= geometry.sizeBytes);
    const indexes = Array.from({ length }, (_, at) => from + at);
    const written = await write(open, indexes, digestOf, lengthBytes, async () => {
      await writeTarget(offset, lengthBytes);
    });
    if (written.epoch !== epoch) throw epochEnded();
    ({ generation } = written);
  }
  return { generation, epoch, isWritten: needed.length > 0 };
}

/** Announce, write, record: the order that keeps the journal true at every moment. */
async function write(
  { durability }: OpenTransfer,
  indexes: readonly number[],
  digestOf: (index: number) => Buffer,
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
  }
  return { generation: durability.finishWrite(permit, digestOf, lengthBytes), epoch: permit.epoch };
}

/** Whoever reads it looks for a block, not for an offset. */
function failedWrite(indexes: readonly number[], error: unknown): TransferError {
  const blocks = formatBlocks(rangesOf(indexes));
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
    'a write or flush of the target failed meanwhile: send the block again',
  );
}
