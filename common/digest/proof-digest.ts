/** What proves that somebody has the bytes of an area, and not only the digest of their block. */
import { createHash } from 'node:crypto';

/**
 * SHA-256 over the nonce, as text, and the bytes after it.
 * @param bytes few enough to be hashed at once. @returns 32 bytes.
 */
export function proofDigest(nonce: string, bytes: Uint8Array): Buffer {
  return createHash('sha256').update(nonce).update(bytes).digest();
}
