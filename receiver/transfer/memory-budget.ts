/**
 * Memory: how many buffers `--memory` makes, how several transfers share them, and whether the table of
 * blocks fits besides.
 */
import { totalmem } from 'node:os';
import { TransferError } from '../../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX, blockCountOf, type Geometry } from '../../common/geometry.ts';
import { SlabArena } from '../../common/io/buffers.ts';
import { formatSize } from '../../common/units.ts';
import { BLOCK_TABLE_ENTRY_BYTES } from '../durability/block-table.ts';

/** With one slab a slow client would block all others. */
const SLAB_COUNT_MIN = 2;
/** Least `--memory`: two slabs of the largest block. */
export const MEMORY_BYTES_MIN = SLAB_COUNT_MIN * 2 * BLOCK_SIZE_BYTES_MAX;

/** With several targets: enough for a slow client of each, too. */
export function memoryBytesMinOf(targetCount: number): number {
  return Math.max(MEMORY_BYTES_MIN, targetCount * SLAB_COUNT_MIN * BLOCK_SIZE_BYTES_MAX);
}

/** Of several transfers: each may use all that the others leave. */
export interface SharedMemory {
  readonly arena: SlabArena;
  readonly transferCount: number;
}

/** @returns undefined: one transfer has all of it. */
export function shareMemory(memoryBytes: number, transferCount: number): SharedMemory | undefined {
  if (transferCount === 1) return undefined;
  return { arena: new SlabArena(memoryBytes), transferCount };
}

export function slabCountOf(memoryBytes: number, slabSizeBytes: number): number {
  return Math.max(SLAB_COUNT_MIN, Math.floor(memoryBytes / slabSizeBytes));
}

/**
 * The table of blocks may take one part in two of the machine's memory. Its pages are touched block by block:
 * a machine with too little memory would run out of it days later.
 */
const TABLE_MEMORY_PARTS = 2;

/** Of the machine, or of its control group if that has less. */
export function machineMemoryBytes(): number {
  const limitBytes = process.constrainedMemory();
  return limitBytes > 0 ? Math.min(limitBytes, totalmem()) : totalmem();
}

/** @throws TransferError `bad-request` if the table of blocks does not fit; the hint has a size that does. */
export function checkTableFits(geometry: Geometry, memoryBytes: number): void {
  const isFitting = (blockSizeBytes: number): boolean => {
    const blockCount = blockCountOf({ ...geometry, blockSizeBytes });
    return blockCount * BLOCK_TABLE_ENTRY_BYTES <= memoryBytes / TABLE_MEMORY_PARTS;
  };
  const { blockSizeBytes } = geometry;
  if (isFitting(blockSizeBytes)) return;
  const blockCount = blockCountOf(geometry);
  const needed = formatSize(blockCount * BLOCK_TABLE_ENTRY_BYTES);
  let fitting = blockSizeBytes;
  while (fitting <= BLOCK_SIZE_BYTES_MAX && !isFitting(fitting)) fitting *= 2;
  const hint =
    fitting <= BLOCK_SIZE_BYTES_MAX
      ? `ddt-send --block-size ${formatSize(fitting).replace(' ', '')}`
      : 'the receiver needs more memory';
  throw new TransferError(
    'bad-request',
    `a table of ${blockCount} blocks takes ${needed}: ` +
      `more than half of the receiver's memory of ${formatSize(memoryBytes)}`,
    { hint },
  );
}
