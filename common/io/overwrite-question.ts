/** The question before the content of a target is destroyed. */
import { createInterface } from 'node:readline/promises';

/** In a script nobody could answer. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/** @param name of the target. @throws the reason of the signal. */
export async function askToOverwrite(name: string, signal: AbortSignal): Promise<boolean> {
  // As a terminal it would take Ctrl-C for a key, and SIGINT would never come.
  using lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  // question() waits forever at the end of the input.
  const closed = new Promise<string>((resolve) => void lines.once('close', () => resolve('')));
  const asking = lines.question(`overwrite all of ${name}? [y/N] `, { signal });
  const answer = await Promise.race([asking, closed]).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
  return /^y(es)?$/i.test(answer.trim());
}
