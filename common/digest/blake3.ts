/** BLAKE3 by a native package, which need not be there: on another platform, or left out, SHA-256 remains. */

/** @returns 32 bytes. */
export type Blake3 = (bytes: Uint8Array) => Buffer<ArrayBuffer>;

/** What to type where it is missing. */
export const BLAKE3_HINT =
  'npm ci in the folder of dd-transfer brings @napi-rs/blake-hash, which computes them';

/** undefined where the package is not installed, or brings nothing for this platform. */
export const blake3: Blake3 | undefined = await load();

async function load(): Promise<Blake3 | undefined> {
  try {
    const native = await import('@napi-rs/blake-hash');
    // A view: the package reads the memory where it is. Its answer is copied out of memory of its own.
    return (bytes) =>
      Buffer.from(native.blake3(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
  } catch {
    // Whatever the reason: everything works without.
    return undefined;
  }
}
