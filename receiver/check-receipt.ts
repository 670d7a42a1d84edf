/**
 * `ddt-receive --check-receipt`: checks, without a sender or a running receiver, whether a disk still has the
 * content in a receipt. Reads the disk past the page cache and compares every block with the digests beside
 * the receipt.
 */
import { readFile, type FileHandle } from 'node:fs/promises';
import { BLAKE3_HINT } from '../common/digest/blake3.ts';
import {
  DIGESTS,
  DIGEST_BYTES,
  digestIn,
  digestNow,
  isDigestAlgorithm,
  type BlockDigest,
} from '../common/digest/digest.ts';
import { labelOf } from '../common/disk/block-devices.ts';
import { openDisk } from '../common/disk/open-disk.ts';
import { TransferError, reasonOf } from '../common/errors.ts';
import {
  blockCountOf,
  blockIndexOf,
  isGeometry,
  lengthOf,
  offsetOf,
  type Geometry,
} from '../common/geometry.ts';
import { SlabPool } from '../common/io/buffers.ts';
import { openDirect, readDirect } from '../common/io/direct-io.ts';
import type { SealReceipt } from '../common/protocol/protocol.ts';
import { DIGESTS_SUFFIX, SIGNATURE_SUFFIX } from '../common/io/receipt-files.ts';
import { rangesOf, type Range } from '../common/ranges.ts';
import { receiptSigner } from '../common/trust/receipt-signer.ts';
import { fingerprintOf } from '../common/trust/ssh-signature.ts';
import { formatSize } from '../common/units.ts';

/** Enough concurrent reads for the disk to be the limit. */
const READERS = 4;
const RECEIPT_BYTES_MAX = 1024 * 1024;

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

interface SignedReceipt {
  readonly receipt: SealReceipt;
  readonly fingerprint: string;
  readonly digests: Buffer;
  readonly digest: BlockDigest;
}

async function readReceipt(path: string, wantedSigner: string | undefined): Promise<SignedReceipt> {
  // One after the other, so that a wrong path is named as it was given, not as that of the signature.
  const json = await readFileOf(path);
  const armored = await readFileOf(`${path}${SIGNATURE_SUFFIX}`);
  const digests = await readFileOf(`${path}${DIGESTS_SUFFIX}`);
  const receipt = parseReceipt(json);
  if (receipt === undefined) throw refused(path, 'it is not the receipt of a copy');
  const signer = receiptSigner(json, armored.toString('latin1'));
  if (signer === undefined) throw refused(path, `its signature in ${path}${SIGNATURE_SUFFIX} is not valid`);
  const fingerprint = fingerprintOf(signer);
  if (wantedSigner !== undefined && fingerprint !== wantedSigner) {
    throw refused(path, `it was signed by another key: ${fingerprint}, not ${wantedSigner}`);
  }
  const isWhole = digests.length === receipt.blockCount * DIGEST_BYTES;
  if (!isWhole || `sha256:${digestNow(digests).toString('hex')}` !== receipt.root) {
    throw refused(path, `the digest of ${path}${DIGESTS_SUFFIX} is not the root in the receipt`);
  }
  const digest = digestIn(DIGESTS, receipt.digest);
  if (digest === undefined) {
    throw new TransferError('digest-unsupported', `the receipt has ${receipt.digest} digests`, {
      hint: BLAKE3_HINT,
    });
  }
  return { receipt, fingerprint, digests, digest };
}

async function readFileOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new TransferError('usage', `cannot read ${path}: ${reasonOf(error)}`, {
      cause: error,
      hint: 'ddt-send --receipt <file> writes the receipt, its signature and its digests side by side',
    });
  }
}

/** Anyone can sign a receipt with a key of their own: what is shown of it is made {@link labelOf}. */
function parseReceipt(json: Buffer): SealReceipt | undefined {
  if (json.length > RECEIPT_BYTES_MAX) return undefined;
  try {
    // Receipts of version 0.1 have neither digest nor generation.
    const given = JSON.parse(json.toString('utf8')) as Partial<SealReceipt>;
    const value = { digest: 'sha-256', generation: 1, ...given } as SealReceipt;
    const { size, blockSize, blockCount, digest, root, sealedAt, generation } = value;
    const geometry = { sizeBytes: size, blockSizeBytes: blockSize };
    const isWhole = isGeometry(geometry) && blockCount === blockCountOf(geometry);
    const isSeal = isDigestAlgorithm(digest) && typeof root === 'string' && isTime(sealedAt);
    if (!isWhole || !isSeal || !Number.isSafeInteger(generation)) return undefined;
    const path = labelOf(value.target.path) ?? 'an unnamed target';
    return { ...value, digest, generation, target: { ...value.target, path } };
  } catch {
    return undefined;
  }
}

function isTime(value: unknown): boolean {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(value);
}

function refused(path: string, why: string): TransferError {
  return new TransferError('usage', `cannot use the receipt ${path}: ${why}`);
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
