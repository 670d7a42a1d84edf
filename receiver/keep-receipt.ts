/** A sealed transfer's receipt, its signature and the digests of its blocks, beside the journal. */
import { dirname, join } from 'node:path';
import { reasonOf } from '../common/errors.ts';
import { writeReceiptFiles } from '../common/io/receipt-files.ts';
import type { Log } from './console/log.ts';
import type { Transfer } from './transfer/transfer.ts';

/** Writes each receipt once, one after the other. */
export class ReceiptKeeper {
  readonly #folder: string;
  readonly #log: Log;
  #kept: Transfer['sealed'];
  #keeping = Promise.resolve();

  /** @param folder of the journal, by a path that this process has the right to. */
  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  keep(transfer: Transfer): void {
    if (transfer.sealed === this.#kept) return;
    this.#kept = transfer.sealed;
    this.#keeping = this.#keeping.then(async () => await keepReceipt(transfer, this.#folder, this.#log));
  }

  /** Resolves when all are written. */
  async finish(): Promise<void> {
    await this.#keeping;
  }
}

/**
 * `receipt-<generation>.json`, `.sig`, `.digests`; a failure is a warning, for the journal has all of it.
 * @param folder of the journal, by a path that this process has the right to.
 */
async function keepReceipt(transfer: Transfer, folder: string, log: Log): Promise<void> {
  const { sealed, opened, generation, journal } = transfer;
  if (sealed === undefined || opened === undefined) return;
  const name = `receipt-${generation}.json`;
  try {
    await writeReceiptFiles(join(folder, name), { ...sealed, digests: opened.table.allDigests() });
  } catch (error) {
    const path = join(dirname(journal.path), name);
    log.warning(`cannot write the receipt to ${path}: ${reasonOf(error)}`);
  }
}
