/** The retries of a run that sends nothing: each failure is shown. */
import { Retries } from './retry.ts';
import type { SendContext, SendRequest } from './send.ts';

export function makeRetries(
  { retryForMs, firstContactForMs }: SendRequest,
  { clock, random, reporter }: SendContext,
): Retries {
  return new Retries({
    clock,
    random,
    retryForMs,
    firstContactForMs,
    onRetry: (error, _delayMs, giveUpInMs) => reporter.noteRetry(error, giveUpInMs),
    onRoom: () => reporter.noteRoom(),
  });
}
