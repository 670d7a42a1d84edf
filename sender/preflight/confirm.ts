/** The last question before a disk with something on it is overwritten; only where somebody can answer. */
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';
import { diskName } from '../../common/disk/disk-line.ts';
import { TransferError } from '../../common/errors.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';

/** A transfer that goes on was confirmed when it began. */
export function needsConfirmation(found: TransferStatus): boolean {
  return found.state === 'unclaimed' && found.target.content.length > 0;
}

/** @throws TransferError `target-refused` unless the answer is yes; the reason of `signal`. */
export async function confirmOverwriting(
  found: TransferStatus,
  receiverName: string,
  terminal: { input: Readable; output: Writable; signal: AbortSignal },
): Promise<void> {
  const name = `${diskName(found.target)} at ${receiverName}`;
  const { input, output, signal } = terminal;
  // Not as a terminal: it would take Ctrl-C for a key, and no signal would come.
  using lines = createInterface({ input, output, terminal: false });
  // At the end of the input no answer comes, and question() would wait for ever.
  const closed = new Promise<string>((resolve) => void lines.once('close', () => resolve('')));
  const asking = lines.question(`overwrite all of ${name}? [y/N] `, { signal });
  const answer = await Promise.race([asking, closed]).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new TransferError('target-refused', `nothing was written to ${name}: the answer was not yes`);
}
