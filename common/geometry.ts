/** How a disk is cut into blocks. Pure arithmetic; every offset is a safe integer. */
import assert from 'node:assert/strict';

/** 0-based number of a block; made by {@link blockIndexOf} only. */
export type BlockIndex = number & { readonly __blockIndex: true };

/** Sizes in bytes. `blockSizeBytes` is a power of two within the two limits below. */
export interface Geometry {
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
}

/** Below 64 KiB the index of a large disk outgrows memory, and requests outweigh data. */
export const BLOCK_SIZE_BYTES_MIN = 64 * 1024;
/** Above 16 MiB a slow line repeats too much after a cut, and few blocks fill the memory budget. */
export const BLOCK_SIZE_BYTES_MAX = 16 * 1024 * 1024;
export const BLOCK_SIZE_BYTES_DEFAULT = 4 * 1024 * 1024;
/** 2^32 blocks: 256 TiB at the smallest block size; keeps every index in a 32-bit field. */
export const BLOCK_COUNT_MAX = 2 ** 32;

export function isBlockSize(bytes: number): boolean {
  return (
    Number.isSafeInteger(bytes) &&
    bytes >= BLOCK_SIZE_BYTES_MIN &&
    bytes <= BLOCK_SIZE_BYTES_MAX &&
    Number.isInteger(Math.log2(bytes))
  );
}

export function isGeometry(geometry: Geometry): boolean {
  return (
    Number.isSafeInteger(geometry.sizeBytes) &&
    geometry.sizeBytes >= 0 &&
    isBlockSize(geometry.blockSizeBytes) &&
    blockCountOf(geometry) <= BLOCK_COUNT_MAX
  );
}

export function blockCountOf(geometry: Geometry): number {
  return Math.ceil(geometry.sizeBytes / geometry.blockSizeBytes);
}

/** @throws AssertionError when the block does not exist: callers check what comes from outside first. */
export function blockIndexOf(index: number, geometry: Geometry): BlockIndex {
  assert(Number.isSafeInteger(index) && index >= 0 && index < blockCountOf(geometry), `block ${index}`);
  return index as BlockIndex;
}

/** First byte of the block, in bytes from the start of the disk. */
export function offsetOf(index: BlockIndex, geometry: Geometry): number {
  return index * geometry.blockSizeBytes;
}

/** Length of the block in bytes; only the last one may be shorter than the block size. */
export function lengthOf(index: BlockIndex, geometry: Geometry): number {
  return Math.min(geometry.blockSizeBytes, geometry.sizeBytes - offsetOf(index, geometry));
}
