/** Asks before the progress of a transfer, or a copy in an object store, is thrown away. */
import { createInterface } from 'node:readline/promises';
import { TransferError } from '../common/errors.ts';
import { lossText, type LostProgress } from './take-target.ts';

export interface Question {
  /** What would be lost: `3 copies of web1`. */
  readonly what: string;
  /** The verb of the question, and its past participle. */
  readonly verb: readonly [string, string];
  /** What is said where nobody can be asked; `what` follows. */
  readonly refusal: string;
  readonly hint: string;
}

/** @throws TransferError `target-refused` when the answer is anything but yes. */
export async function confirmDiscard(lost: LostProgress, isConfirmed: boolean): Promise<void> {
  if (isConfirmed) return;
  await confirmLoss({
    what: lossText(lost),
    verb: ['discard', 'discarded'],
    refusal: '--discard-transfer would lose',
    hint: 'to keep it, leave --discard-transfer out; to discard it without a question, add --yes',
  });
}

/**
 * On a terminal it asks; elsewhere `--yes` has to say it.
 * @throws TransferError `target-refused` when the answer is anything but yes.
 */
export async function confirmLoss({ what, verb, refusal, hint }: Question): Promise<void> {
  const [ask, done] = verb;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new TransferError('target-refused', `${refusal} ${what}`, { hint });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${ask} ${what}? Type yes: `);
    if (answer.trim() === 'yes') return;
  } finally {
    terminal.close();
  }
  throw new TransferError('target-refused', `nothing was ${done}: the answer was not yes`, { hint });
}
