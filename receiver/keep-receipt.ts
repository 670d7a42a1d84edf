/** A sealed transfer's receipt, its signature and the digests of its blocks, beside the journal. */
import { dirname, join } from 'node:path';
import { reasonOf } from '../common/errors.ts';
import { writeReceiptFiles } from '../common/io/receipt-files.ts';
import type { Log } from './console/log.ts';
import type { Transfer } from './transfer/transfer.ts';

/** `receipt-<generation>.json`, `.sig`, `.digests`; a failure is a warning, for the journal has all of it. */
export async function keepReceipt(transfer: Transfer, log: Log): Promise<void> {
  const { sealed, opened, generation, journal } = transfer;
  if (sealed === undefined || opened === undefined) return;
  const path = join(dirname(journal.path), `receipt-${generation}.json`);
  try {
    await writeReceiptFiles(path, { ...sealed, digests: opened.table.allDigests() });
  } catch (error) {
    log.warning(`cannot write the receipt to ${path}: ${reasonOf(error)}`);
  }
}
