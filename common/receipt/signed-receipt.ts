/** A receipt, its signature and its digests, as `ddt-send --receipt` has written them: read and checked. */
import { readFile } from 'node:fs/promises';
import { BLAKE3_HINT } from '../digest/blake3.ts';
import {
  DIGESTS,
  DIGEST_BYTES,
  digestIn,
  digestNow,
  isDigestAlgorithm,
  type BlockDigest,
} from '../digest/digest.ts';
import { labelOf } from '../disk/block-devices.ts';
import { TransferError, reasonOf } from '../errors.ts';
import { blockCountOf, isGeometry } from '../geometry.ts';
import { DIGESTS_SUFFIX, SIGNATURE_SUFFIX } from '../io/receipt-files.ts';
import { parseLeftOut } from '../protocol/left-out.ts';
import type { SealReceipt } from '../protocol/protocol.ts';
import { isReadBackMethod } from '../protocol/read-back.ts';
import { receiptSigner } from '../trust/receipt-signer.ts';
import { fingerprintOf } from '../trust/ssh-signature.ts';

const RECEIPT_BYTES_MAX = 1024 * 1024;

export interface SignedReceipt {
  readonly receipt: SealReceipt;
  /** `SHA256:…` of the key that signed it. */
  readonly fingerprint: string;
  readonly digests: Buffer;
  readonly digest: BlockDigest;
}

/**
 * @param wantedSigner `SHA256:…` of the only key that may have signed it.
 * @throws TransferError `usage` when the files are not a receipt with its signature and digests.
 */
export async function readReceipt(path: string, wantedSigner?: string): Promise<SignedReceipt> {
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
    // Receipts of version 0.2 and earlier are of copies that leave nothing out.
    const leftOut = parseLeftOut(given.leftOut ?? null, size);
    const geometry = { sizeBytes: size, blockSizeBytes: blockSize };
    const isWhole = isGeometry(geometry) && blockCount === blockCountOf(geometry);
    const isSeal = isDigestAlgorithm(digest) && typeof root === 'string' && isTime(sealedAt);
    const { readBack = null } = given;
    if (readBack !== null && !isReadBackMethod(readBack)) return undefined;
    if (!isWhole || !isSeal || leftOut === undefined || !Number.isSafeInteger(generation)) return undefined;
    const path = labelOf(value.target.path) ?? 'an unnamed target';
    return { ...value, readBack, leftOut, digest, generation, target: { ...value.target, path } };
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
