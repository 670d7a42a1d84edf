/**
 * `ddt-receive --check-receipt`: checks, without a sender or a running receiver, whether a disk still has the
 * content in a receipt. Reads the disk past the page cache and compares every block with the digests beside
 * the receipt.
 */
import { DIGEST_BYTES, type BlockDigest } from '../common/digest/digest.ts';
import { TransferError } from '../common/errors.ts';
import { blockCountOf, blockIndexOf, lengthOf, offsetOf, type Geometry } from '../common/geometry.ts';
import { SlabPool } from '../common/io/buffers.ts';
import type { FormatChoice } from '../common/nbd/image-format.ts';
import type { SealReceipt } from '../common/protocol/protocol.ts';
import { rangesOf, type Range } from '../common/ranges.ts';
import { readReceipt } from '../common/receipt/signed-receipt.ts';
import { formatSize } from '../common/units.ts';
import { openToCheck } from './open-target.ts';

/** Enough concurrent reads for the disk to be the limit. */
const READERS = 4;

export interface ReceiptCheck {
  readonly receipt: SealReceipt;
  /** `SHA256:…` of the key that signed it. */
  readonly fingerprint: string;
  /** Blocks that differ from the receipt or can't be read. */
  readonly different: readonly Range[];
}

export interface CheckReceiptOptions {
  /** `SHA256:…` of the only key that may have signed it. */
  readonly signer?: string | undefined;
  /** Of the disk, if it is a file. */
  readonly format?: FormatChoice;
  /** Called with the bytes compared so far. */
  readonly onProgress?: (bytes: number) => void;
}

/**
 * @throws TransferError `usage` when the files are not a receipt with its signature and digests;
 * `target-refused` when the disk is smaller than the copy or can't be opened.
 */
export async function checkReceipt(
  receiptPath: string,
  diskPath: string,
  { signer, format = 'auto', onProgress = () => {} }: CheckReceiptOptions = {},
): Promise<ReceiptCheck> {
  const { receipt, fingerprint, digests, digest } = await readReceipt(receiptPath, signer);
  const geometry = { sizeBytes: receipt.size, blockSizeBytes: receipt.blockSize };
  const different = await compare(diskPath, geometry, { format, digests, digest, onProgress });
  return { receipt, fingerprint, different };
}

interface CompareParts {
  readonly format: FormatChoice;
  readonly digests: Buffer;
  readonly digest: BlockDigest;
  readonly onProgress: (bytes: number) => void;
}

async function compare(path: string, geometry: Geometry, parts: CompareParts): Promise<Range[]> {
  const { format } = parts;
  const blockCount = blockCountOf(geometry);
  await using disk = await openToCheck(path, format);
  const { sizeBytes } = disk;
  if (sizeBytes < geometry.sizeBytes) {
    throw new TransferError(
      'target-refused',
      `${path} is too small for the copy in the receipt: it has ${sizeBytes} bytes ` +
        `(${formatSize(sizeBytes)}), the copy ${geometry.sizeBytes}: it is another disk`,
    );
  }
  const slabs = new SlabPool({ slabSizeBytes: geometry.blockSizeBytes, slabCount: READERS });
  const different: number[] = [];
  let next = 0;
  let doneBytes = 0;
  const readSome = async (): Promise<void> => {
    while (next < blockCount) {
      const index = blockIndexOf(next++, geometry);
      using slab = await slabs.take();
      const bytes = slab.bytes.subarray(0, lengthOf(index, geometry));
      const isRead = await disk.read(bytes, offsetOf(index, geometry));
      const expected = parts.digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
      if (!isRead || !(await parts.digest.of(bytes)).equals(expected)) different.push(index);
      doneBytes += bytes.length;
      parts.onProgress(doneBytes);
    }
  };
  await Promise.all(Array.from({ length: READERS }, readSome));
  return rangesOf(different);
}
