/** Asks before the progress of a transfer is thrown away. */
import { createInterface } from 'node:readline/promises';
import { TransferError } from '../common/errors.ts';
import { lossText, type LostProgress } from './take-target.ts';

/**
 * On a terminal it asks; elsewhere `--yes` has to say it.
 * @throws TransferError `target-refused` when the answer is anything but yes.
 */
export async function confirmDiscard(lost: LostProgress, isConfirmed: boolean): Promise<void> {
  if (isConfirmed) return;
  const what = lossText(lost);
  const keep = `to keep it, leave --discard-transfer out; to discard it without a question, add --yes`;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new TransferError('target-refused', `--discard-transfer would lose ${what}`, { hint: keep });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`discard ${what}? Type yes: `);
    if (answer.trim() === 'yes') return;
  } finally {
    terminal.close();
  }
  throw new TransferError('target-refused', `nothing was discarded: the answer was not yes`, { hint: keep });
}
