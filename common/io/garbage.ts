/** The memory that Node allocates besides the slabs, and when it is freed. */
import { setFlagsFromString } from 'node:v8';
import { isMarkedAsUntransferable } from 'node:worker_threads';

/**
 * Node allocates a buffer of 16 KiB for each TLS record, which is garbage as soon as it was copied into its
 * slab, and compression allocates large ones. For every 64 MiB of them V8 marks its whole heap, unless they
 * count as a part of the heap: marking took a quarter of the receiver's processor time. To be called first.
 * V8 13.6 (Node 24) to 14.6 know the flag.
 */
export function countExternalMemory(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}

/**
 * Frees the memory of a buffer at once; otherwise it lives until the next garbage collection. The buffer is
 * empty then, and so is every other view of that memory; Node's pool for small buffers is left alone.
 */
export function release(bytes: Buffer<ArrayBuffer>): void {
  if (!isMarkedAsUntransferable(bytes.buffer)) bytes.buffer.transfer(0);
}

/**
 * The chunk size for zlib that makes it produce all output at once: its default of 16 KiB takes several times
 * as long, with a buffer for each chunk. Zlib needs at least 64 bytes.
 */
export function oneStep(lengthBytes: number): number {
  return Math.max(64, lengthBytes);
}
