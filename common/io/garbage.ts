/** Memory that Node takes besides the slabs, and when it is given back. */
import { setFlagsFromString } from 'node:v8';
import { isMarkedAsUntransferable } from 'node:worker_threads';

/**
 * Node makes a buffer for each record of TLS, 16 KiB, dead as soon as it was copied into its slab, and the
 * codings make large ones. For every 64 MiB of them V8 marks its whole heap, unless they count as a part of
 * the heap and wait for its own turn: marking was a quarter of the receiver's processor time. To be called
 * first. V8 13.6 (Node 24) to 14.6 know the flag.
 */
export function countExternalMemory(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}

/**
 * Gives a buffer's memory back at once: by itself it lives until V8 happens to look. It is empty then, and so
 * is every other view of that memory; Node's pool for small buffers is left alone.
 */
export function release(bytes: Buffer<ArrayBuffer>): void {
  if (!isMarkedAsUntransferable(bytes.buffer)) bytes.buffer.transfer(0);
}

/**
 * What zlib is told to make at a time, so that it makes all of it at once: its usual steps of 16 KiB take
 * several times as long, each with a buffer of its own. Less than 64 bytes are no step.
 */
export function oneStep(lengthBytes: number): number {
  return Math.max(64, lengthBytes);
}
