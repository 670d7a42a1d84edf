/** Whether bytes are zeros: told by comparing them, never from maps of holes. */

/** Stays in a processor's nearest caches: only what is compared with it comes from memory. */
const ZEROS = Buffer.alloc(64 * 1024);

/** @returns true also for no bytes at all. */
export function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const piece = bytes.subarray(at, at + ZEROS.length);
    if (!piece.equals(piece.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, piece.length))) return false;
  }
  return true;
}
