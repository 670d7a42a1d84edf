/** `--receipt`: the receipt as it was signed, and its signature, as `ssh-keygen -Y verify` takes them. */
import { TransferError, reasonOf } from '../common/errors.ts';
import { writeFileDurably } from '../common/io/durable-file.ts';
import type { Seal } from './client/receiver-port.ts';

/** The files that are written for a receipt at this path. */
export function receiptPaths(path: string): readonly [receipt: string, signature: string] {
  return [path, `${path}.sig`];
}

/** @throws TransferError `usage`. */
export async function writeReceipt(path: string, { text, signature }: Seal): Promise<void> {
  const [receiptPath, signaturePath] = receiptPaths(path);
  try {
    await writeFileDurably(receiptPath, text, 0o644);
    await writeFileDurably(signaturePath, signature, 0o644);
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
