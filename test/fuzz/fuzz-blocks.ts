/** The blocks that a fuzzed transfer may hold: a few contents each, known by their digests. */
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestNow } from '../../common/digest/digest.ts';
import { prng } from '../support/prng.ts';

export const BLOCK_BYTES = 65_536;
export const BLOCK_COUNT = 24;
/** The last block is shorter, and ends in no whole sector. */
export const SIZE_BYTES = BLOCK_COUNT * BLOCK_BYTES - 1000;
/** The first is all zeros. */
export const CONTENTS = 4;

export const CLAIM = {
  size: SIZE_BYTES,
  blockSize: BLOCK_BYTES,
  digest: 'sha-256',
  source: { description: 'a fuzzed disk', path: '/dev/sdz', model: null, serial: null },
};

export interface BlockContent {
  readonly bytes: Buffer;
  /** Lower-case hexadecimal digits of its SHA-256. */
  readonly hex: string;
}

/** Contents of all blocks; those of two blocks differ, except for zeros. */
export class FuzzBlocks {
  readonly #contents: readonly (readonly BlockContent[])[];
  readonly #encoded = new Map<BlockContent, Map<string, Buffer>>();

  constructor(seed: number) {
    this.#contents = Array.from({ length: BLOCK_COUNT }, (_, index) =>
      Array.from({ length: CONTENTS }, (__, version) => contentOf(seed, index, version)),
    );
  }

  of(index: number, version: number): BlockContent {
    const content = this.#contents[index]?.[version];
    if (content === undefined) throw new RangeError(`content ${version} of block ${index}`);
    return content;
  }

  encoded(content: BlockContent, encoding: 'zstd' | 'gzip'): Buffer {
    const known = this.#encoded.get(content) ?? new Map<string, Buffer>();
    this.#encoded.set(content, known);
    const encode = encoding === 'zstd' ? zstdCompressSync : gzipSync;
    const bytes = known.get(encoding) ?? encode(content.bytes);
    known.set(encoding, bytes);
    return bytes;
  }
}

export function lengthOf(index: number): number {
  return Math.min(BLOCK_BYTES, SIZE_BYTES - index * BLOCK_BYTES);
}

function contentOf(seed: number, index: number, version: number): BlockContent {
  const bytes = Buffer.alloc(lengthOf(index));
  const random = prng(seed + index * CONTENTS + version);
  // The last can be compressed, the others can't.
  if (version > 0) bytes.fill(random.bytes(version === CONTENTS - 1 ? 512 : bytes.length));
  return { bytes, hex: hexOf(bytes) };
}

export function hexOf(bytes: Uint8Array): string {
  return digestNow(bytes).toString('hex');
}
