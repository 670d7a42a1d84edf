/** Whether bytes are zeros, by comparing them, never from maps of holes. */

/**
 * The first byte is zero, and each equals the one before it: half the time of comparing with other zeros, as
 * only these bytes come from memory.
 * @returns true for no bytes.
 */
export function isZero(bytes: Buffer): boolean {
  return bytes.length === 0 || (bytes[0] === 0 && bytes.subarray(1).equals(bytes.subarray(0, -1)));
}
