/** A promise that can be given up although the work behind it cannot be cancelled. */
import { TransferError } from './errors.ts';

/** @returns as `promise` does, unless the signal aborts first. @throws the signal's reason. */
export async function abortable<Result>(
  promise: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  if (signal === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(reasonOf(signal));
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    // If both have settled, the abort wins.
    return await Promise.race([aborted.promise, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new TransferError('interrupted', 'interrupted');
}
