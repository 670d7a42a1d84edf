/** How `--memory` is cut into buffers, and what memory is needed besides. */
import { totalmem } from 'node:os';
import { TransferError } from '../../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX, blockCountOf, type Geometry } from '../../common/geometry.ts';
import { formatSize } from '../../common/units.ts';
import { BLOCK_TABLE_ENTRY_BYTES } from '../durability/block-table.ts';

/** Two slabs at least, or one client could hold up every other. */
const SLAB_COUNT_MIN = 2;
/** The least useful `--memory`: two slabs of the largest block. */
export const MEMORY_BYTES_MIN = SLAB_COUNT_MIN * 2 * BLOCK_SIZE_BYTES_MAX;

export function slabCountOf(memoryBytes: number, slabSizeBytes: number): number {
  return Math.max(SLAB_COUNT_MIN, Math.floor(memoryBytes / slabSizeBytes));
}

/**
 * The table of blocks may take this part of the machine's memory. It takes it block by block: a machine that
 * has too little would find that out after days.
 */
const TABLE_MEMORY_PARTS = 2;

/** Of the machine, or what a control group leaves of it. */
export function machineMemoryBytes(): number {
  const limitBytes = process.constrainedMemory();
  return limitBytes > 0 ? Math.min(limitBytes, totalmem()) : totalmem();
}

/** @throws TransferError `bad-request` when the table of so many blocks does not fit. */
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
    `${blockCount} blocks take ${needed} of the receiver's memory, ` +
      `more than half of the ${formatSize(memoryBytes)} that it has`,
    { hint },
  );
}
