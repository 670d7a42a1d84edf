/** What proves that somebody has the bytes of a block, and not only their digest. */
import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';

/** Blocks the event loop for a millisecond, or for ten on a processor without instructions for SHA-256. */
const STEP_BYTES = 1024 * 1024;

/**
 * SHA-256 over the nonce, as text, and the bytes after it: `(printf %s "$NONCE"; cat block) | sha256sum`.
 * @param bytes must not change until the promise settles. @returns 32 bytes.
 */
export async function proofDigest(nonce: string, bytes: Uint8Array): Promise<Buffer> {
  const hash = createHash('sha256').update(nonce);
  for (let at = 0; at < bytes.length; at += STEP_BYTES) {
    if (at > 0) await turn();
    hash.update(bytes.subarray(at, at + STEP_BYTES));
  }
  return hash.digest();
}
