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

  /** @param onKept called once for each, with its path if it was written. */
  keep(transfer: Transfer, onKept: (path: string | undefined) => void): void {
    if (transfer.sealed === this.#kept) return;
    this.#kept = transfer.sealed;
    this.#keeping = this.#keeping.then(async () =>
      onKept(await keepReceipt(transfer, this.#folder, this.#log)),
    );
  }

  /** Resolves when all are written. */
  async finish(): Promise<void> {
    await this.#keeping;
  }
}

/**
 * `receipt-<generation>.json`, `.sig`, `.digests`; a failure is a warning, for the journal has all of it.
 * @param folder of the journal, by a path that this process has the right to.
 * @returns the path of the first, as others know it.
 */
async function keepReceipt(transfer: Transfer, folder: string, log: Log): Promise<string | undefined> {
  const { sealed, opened, generation, journal } = transfer;
  if (sealed === undefined || opened === undefined) return undefined;
  const name = `receipt-${generation}.json`;
  const path = join(dirname(journal.path), name);
  try {
    await writeReceiptFiles(join(folder, name), { ...sealed, digests: opened.table.allDigests() });
    return path;
  } catch (error) {
    log.warning(`cannot write the receipt to ${path}: ${reasonOf(error)}`);
    return undefined;
  }
}
