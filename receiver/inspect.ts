/** What ddt-receive shows without serving: the transfers of a state folder, a disk and its receipt. */
import { resolve } from 'node:path';
import { systemClock } from '../common/clock.ts';
import { EXIT_STATUS } from '../common/errors.ts';
import { countLeftOut } from '../common/protocol/left-out.ts';
import { countOf, formatBlocks } from '../common/ranges.ts';
import { printable } from '../common/text.ts';
import { formatSize } from '../common/units.ts';
import type { CheckOptions, ListOptions } from './cli.ts';
import { listLines } from './console/list-text.ts';
import { defaultStateDir } from './identity/state-dir.ts';

/** How often a long reading says how far it is. */
const REPORT_MS = 10_000;

export interface InspectOutputs {
  /** To standard output. */
  readonly print: (text: string) => void;
  /** To standard error: how far it is. */
  readonly say: (text: string) => void;
}

/** @returns the exit status. @throws TransferError `state-refused`. */
export async function list({ stateDir, log }: ListOptions, { print }: InspectOutputs): Promise<number> {
  const { listTransfers } = await import('./list-transfers.ts');
  const folder = resolve(stateDir ?? defaultStateDir());
  const entries = await listTransfers(folder);
  if (log === 'json') for (const entry of entries) print(`${JSON.stringify(entry)}\n`);
  else if (entries.length === 0) print(`no transfers in ${folder}\n`);
  else
    print(
      `${entries
        .map((entry) =>
          listLines(entry)
            .map((line) => printable(line))
            .join('\n'),
        )
        .join('\n\n')}\n`,
    );
  return EXIT_STATUS.verified;
}

/** Compares a disk with its receipt. @returns the exit status. @throws as `checkReceipt`. */
export async function check(
  { receipt: path, disk, signer, format }: CheckOptions,
  { print, say }: InspectOutputs,
): Promise<number> {
  const { checkReceipt } = await import('./check-receipt.ts');
  const report = reportNowAndThen(say);
  const onProgress = (bytes: number): void => report(() => `${formatSize(bytes)} of ${disk} compared`);
  const { receipt, fingerprint, different } = await checkReceipt(path, disk, { signer, format, onProgress });
  const { size, blockCount, sealedAt, generation, target, leftOut } = receipt;
  print(`receipt  ${path}: ${target.path}, sealed ${sealedAt}, generation ${generation ?? 1}\n`);
  print(`key      ${fingerprint}: the key of the receiver that signed it\n`);
  if (leftOut !== null) print(`omitted  ${countLeftOut(leftOut)} of the source were left out: zeros here\n`);
  if (different.length === 0) {
    print(`equal    all ${blockCount} blocks, ${formatSize(size)}, of ${disk} are what the receipt says\n`);
    return EXIT_STATUS.verified;
  }
  print(`differs  ${countOf(different)} of ${blockCount} blocks of ${disk}: ${formatBlocks(different)}\n`);
  return EXIT_STATUS.unproven;
}

/** @returns to be called as often as there is progress. */
export function reportNowAndThen(say: (text: string) => void): (text: () => string) => void {
  let reportedMs = systemClock.monotonicMs();
  return (text) => {
    const nowMs = systemClock.monotonicMs();
    if (nowMs - reportedMs < REPORT_MS) return;
    reportedMs = nowMs;
    say(`${text()}\n`);
  };
}
