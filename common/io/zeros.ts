/** Whether bytes are zeros, by comparing them, never from maps of holes. */

/** Fits into the processor's caches: only the other side of the comparison comes from memory. */
const ZEROS = Buffer.alloc(64 * 1024);

/** @returns true for no bytes. */
export function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const chunk = bytes.subarray(at, at + ZEROS.length);
    if (!chunk.equals(chunk.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, chunk.length))) return false;
  }
  return true;
}
