/**
 * The three files that a receipt is kept in: the signed JSON, its armored signature, and the digests of all
 * blocks, 32 bytes each in index order. The SHA-256 of the third file is the root in the first.
 */
import { writeFileDurably } from './durable-file.ts';

export const SIGNATURE_SUFFIX = '.sig';
export const DIGESTS_SUFFIX = '.digests';

export interface ReceiptFiles {
  /** The exact bytes that were signed. */
  readonly json: string;
  readonly signature: string;
  readonly digests: Buffer;
}

/** Writes the receipt last: if it exists, so do the others. @throws as open(2), write(2), rename(2) do. */
export async function writeReceiptFiles(path: string, files: ReceiptFiles): Promise<void> {
  await writeFileDurably(`${path}${DIGESTS_SUFFIX}`, files.digests, 0o644);
  await writeFileDurably(`${path}${SIGNATURE_SUFFIX}`, files.signature, 0o644);
  await writeFileDurably(path, files.json, 0o644);
}
