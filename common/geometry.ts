/** How a disk is divided into blocks. Pure arithmetic; every offset is a safe integer. */
import assert from 'node:assert/strict';

/** 0-based number of a block; made only by {@link blockIndexOf}. */
export type BlockIndex = number & { readonly __blockIndex: true };

/** Sizes in bytes. `blockSizeBytes` is a power of two within the two limits below. */
export interface Geometry {
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
}

/** Below this the table of a large disk outgrows memory, and requests outweigh data. */
export const BLOCK_SIZE_BYTES_MIN = 64 * 1024;
/** Above this a slow line repeats too much after a cut, and few blocks fill the memory budget. */
export const BLOCK_SIZE_BYTES_MAX = 16 * 1024 * 1024;
/** Of pipes, and of disks that have more than {@link BLOCKS_WANTED} blocks of this size. */
export const BLOCK_SIZE_BYTES_DEFAULT = 4 * 1024 * 1024;
/** Below this, on a fast line, a request costs more than what is in it. */
const SMALL_BLOCK_BYTES = 256 * 1024;
/**
 * Four for each of 64 connections, so that a small disk can use all of them. More blocks would be smaller,
 * and cost throughput on a fast line: over loopback 1 MiB takes half as long again as 4 MiB, 256 KiB twice.
 */
const BLOCKS_WANTED = 256;
/** 2^32 blocks: 256 TiB at the smallest block size; keeps every index in a 32-bit field. */
export const BLOCK_COUNT_MAX = 2 ** 32;

/** @param sizeBytes of the source; null while it is not known. */
export function defaultBlockSizeFor(sizeBytes: number | null): number {
  if (sizeBytes === null) return BLOCK_SIZE_BYTES_DEFAULT;
  let blockSizeBytes = BLOCK_SIZE_BYTES_DEFAULT;
  while (blockSizeBytes > SMALL_BLOCK_BYTES && sizeBytes / blockSizeBytes < BLOCKS_WANTED) {
    blockSizeBytes /= 2;
  }
  return blockSizeBytes;
}

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

/** @throws AssertionError if the block does not exist: callers check input from outside first. */
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
