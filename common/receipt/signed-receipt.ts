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
  const refuse = (why: string): never => {
    throw new TransferError('usage', `cannot use the receipt ${path}: ${why}`);
  };
  const signed = checkReceipt({ json, signature: armored.toString('latin1'), digests }, refuse);
  if (wantedSigner !== undefined && signed.fingerprint !== wantedSigner) {
    refuse(`it was signed by another key: ${signed.fingerprint}, not ${wantedSigner}`);
  }
  return signed;
}

export interface ReceiptParts {
  readonly json: Buffer;
  /** Armored. */
  readonly signature: string;
  readonly digests: Buffer;
}

/**
 * Whether they belong together: the signature is by the key in it, the digests have the root.
 * @param refuse throws, with what is wrong. @throws TransferError `digest-unsupported`, what `refuse` throws.
 */
export function checkReceipt(
  { json, signature, digests }: ReceiptParts,
  refuse: (why: string) => never,
): SignedReceipt {
  const receipt = parseReceipt(json);
  if (receipt === undefined) return refuse('it is not the receipt of a copy');
  const signer = receiptSigner(json, signature);
  if (signer === undefined) return refuse('its signature is not valid');
  const isWhole = digests.length === receipt.blockCount * DIGEST_BYTES;
  if (!isWhole || `sha256:${digestNow(digests).toString('hex')}` !== receipt.root) {
    return refuse('the digest of its digests is not the root in the receipt');
  }
  const digest = digestIn(DIGESTS, receipt.digest);
  if (digest === undefined) {
    throw new TransferError('digest-unsupported', `the receipt has ${receipt.digest} digests`, {
      hint: BLAKE3_HINT,
    });
  }
  return { receipt, fingerprint: fingerprintOf(signer), digests, digest };
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
export function parseReceipt(json: Buffer): SealReceipt | undefined {
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
