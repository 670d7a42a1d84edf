/** Reads a whole source and compares it with the digests that the receiver lists. Sends nothing. */
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { SlabPool } from '../../common/io/buffers.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { BlockReader, type ReadBlock } from '../source/read-block.ts';
import type { Source } from '../source/source.ts';
import { Listing, fetchPage, type ListingParts } from './listing.ts';

/** Enough to keep a disk busy. */
const READERS = 8;

export interface CompareOptions {
  readonly source: Source;
  readonly geometry: Geometry;
  readonly digest: BlockDigest;
  readonly memoryBytes: number;
  /** @param present undefined: the block is not listed. Its bytes are valid until the call has settled. */
  readonly onBlock: (block: ReadBlock, present: Buffer | undefined) => void | Promise<void>;
}

/** @throws TransferError as the source and the receiver do. */
export async function compareSource(options: CompareOptions, parts: ListingParts): Promise<void> {
  const { source, geometry, digest, memoryBytes, onBlock } = options;
  const blockCount = blockCountOf(geometry);
  const slabSizeBytes = geometry.blockSizeBytes;
  const listing = new Listing(async (from) => await fetchPage(parts, from, blockCount));
  const reader = new BlockReader(source, geometry, digest);
  const readerCount = Math.max(1, Math.min(READERS, Math.floor(memoryBytes / slabSizeBytes)));
  const slabs = new SlabPool({ slabSizeBytes, slabCount: readerCount });
  let next = 0;
  const compareSome = async (): Promise<void> => {
    using slab = await slabs.take();
    for (let index = next++; index < blockCount; index = next++) {
      parts.signal.throwIfAborted();
      const block = await reader.read(index, slab.bytes);
      await onBlock(block, await listing.digestAt(index));
      parts.retries.noteProgress();
    }
  };
  await Promise.all(Array.from({ length: readerCount }, compareSome));
}
