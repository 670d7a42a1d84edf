/**
 * `--receipt`: the receipt as it was signed, its signature, as `ssh-keygen -Y verify` takes them, and the
 * digests of all blocks for `ddt-receive --check-receipt`.
 */
import { TransferError, reasonOf } from '../common/errors.ts';
import { DIGESTS_SUFFIX, SIGNATURE_SUFFIX, writeReceiptFiles } from '../common/io/receipt-files.ts';
import type { Seal } from './client/receiver-port.ts';

/** The files that are written for a receipt at this path. */
export function receiptPaths(path: string): readonly string[] {
  return [path, `${path}${SIGNATURE_SUFFIX}`, `${path}${DIGESTS_SUFFIX}`];
}

/** @throws TransferError `usage`. */
export async function writeReceipt(
  path: string,
  { seal, digests }: { seal: Seal; digests: Buffer | undefined },
): Promise<void> {
  if (digests === undefined) throw new Error('the digests were not fetched');
  try {
    await writeReceiptFiles(path, { json: seal.text, signature: seal.signature, digests });
  } catch (error) {
    throw new TransferError(
      'usage',
      `the copy is complete, but the receipt cannot be written to ${path}: ${reasonOf(error)}`,
      {
        cause: error,
        hint: 'run the same command again with another --receipt: it compares, and writes the receipt',
      },
    );
  }
}
