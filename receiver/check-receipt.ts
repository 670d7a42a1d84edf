/**
 * `ddt-receive --check-receipt`: checks, without a sender or a running receiver, whether a disk still has the
 * content in a receipt. Reads the disk past the page cache and compares every block with the digests beside
 * the receipt.
 */
import type { FileHandle } from 'node:fs/promises';
import { DIGEST_BYTES, type BlockDigest } from '../common/digest/digest.ts';
import { openDisk } from '../common/disk/open-disk.ts';
import { TransferError } from '../common/errors.ts';
import { blockCountOf, blockIndexOf, lengthOf, offsetOf, type Geometry } from '../common/geometry.ts';
import { SlabPool } from '../common/io/buffers.ts';
import { openDirect, readDirect } from '../common/io/direct-io.ts';
import type { SealReceipt } from '../common/protocol/protocol.ts';
import { rangesOf, type Range } from '../common/ranges.ts';
import { readReceipt } from '../common/receipt/signed-receipt.ts';
import { formatSize } from '../common/units.ts';

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
  { signer, onProgress = () => {} }: CheckReceiptOptions = {},
): Promise<ReceiptCheck> {
  const { receipt, fingerprint, digests, digest } = await readReceipt(receiptPath, signer);
  const geometry = { sizeBytes: receipt.size, blockSizeBytes: receipt.blockSize };
  const different = await compare(diskPath, geometry, { digests, digest, onProgress });
  return { receipt, fingerprint, different };
}

interface CompareParts {
  readonly digests: Buffer;
  readonly digest: BlockDigest;
  readonly onProgress: (bytes: number) => void;
}

async function compare(path: string, geometry: Geometry, parts: CompareParts): Promise<Range[]> {
  const blockCount = blockCountOf(geometry);
  await using disk = await openDisk(path, 'target-refused');
  const { sizeBytes } = disk.description;
  if (sizeBytes < geometry.sizeBytes) {
    throw new TransferError(
      'target-refused',
      `${path} is too small for the copy in the receipt: it has ${sizeBytes} bytes ` +
        `(${formatSize(sizeBytes)}), the copy ${geometry.sizeBytes}: it is another disk`,
    );
  }
  const slabs = new SlabPool({ slabSizeBytes: geometry.blockSizeBytes, slabCount: READERS });
  await using direct = (await openDirect(disk.handle, 'read')) ?? null;
  const handle = direct ?? disk.handle;
  const different: number[] = [];
  let next = 0;
  let doneBytes = 0;
  const readSome = async (): Promise<void> => {
    while (next < blockCount) {
      const index = blockIndexOf(next++, geometry);
      using slab = await slabs.take();
      const bytes = slab.bytes.subarray(0, lengthOf(index, geometry));
      const isRead = await readAll(handle, bytes, offsetOf(index, geometry), direct !== null);
      const expected = parts.digests.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
      if (!isRead || !(await parts.digest.of(bytes)).equals(expected)) different.push(index);
      doneBytes += bytes.length;
      parts.onProgress(doneBytes);
    }
  };
  await Promise.all(Array.from({ length: READERS }, readSome));
  return rangesOf(different);
}

/** @returns false if the disk can't be read there, or ends before. */
async function readAll(
  handle: FileHandle,
  into: Buffer<ArrayBuffer>,
  offset: number,
  isDirect: boolean,
): Promise<boolean> {
  try {
    for (let done = 0; done < into.length;) {
      const some = isDirect ? await readDirect(handle, into, done, offset) : undefined;
      const bytesRead = some ?? (await handle.read(into, done, into.length - done, offset + done)).bytesRead;
      if (bytesRead === 0) return false;
      done += bytesRead;
    }
    return true;
  } catch {
    return false;
  }
}
