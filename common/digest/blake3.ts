/** BLAKE3 from an optional native package; without it, as on other platforms, SHA-256 is used. */

/** @returns 32 bytes. */
export type Blake3 = (bytes: Uint8Array) => Buffer<ArrayBuffer>;

/** The hint where it is missing. */
export const BLAKE3_HINT =
  'npm ci in the folder of dd-transfer installs @napi-rs/blake-hash, which computes them';

/** undefined if the package is not installed, or not available for this platform. */
export const blake3: Blake3 | undefined = await load();

async function load(): Promise<Blake3 | undefined> {
  try {
    const native = await import('@napi-rs/blake-hash');
    // A view: the package reads memory in place. Its result is copied out of memory of its own.
    return (bytes) =>
      Buffer.from(native.blake3(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
  } catch {
    // For any reason: everything works without it.
    return undefined;
  }
}
