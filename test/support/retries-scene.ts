/** The retries of a sender, with time and chance under the control of the test. */
import assert from 'node:assert/strict';
import { TransferError, type ErrorCode } from '../../common/errors.ts';
import { Retries } from '../../sender/transfer/retry.ts';
import { FakeClock } from './fake-clock.ts';

export const HOUR_MS = 3_600_000;
export const never = new AbortController().signal;

export interface RetriesScene {
  readonly clock: FakeClock;
  readonly retries: Retries;
  /** One for each retry that was announced. */
  readonly delaysMs: number[];
}

/** @param options `random`: every random number; below 1, as the real ones. */
export function retriesScene(
  options: { retryForMs?: number; firstContactForMs?: number; random?: number } = {},
): RetriesScene {
  const clock = new FakeClock();
  const delaysMs: number[] = [];
  const retries = new Retries({
    clock,
    random: () => options.random ?? 0.5,
    retryForMs: options.retryForMs ?? 24 * HOUR_MS,
    firstContactForMs: options.firstContactForMs,
    onRetry: (_, delayMs) => delaysMs.push(delayMs),
  });
  return { clock, retries, delaysMs };
}

export function failure(code: ErrorCode, retryAfterSeconds?: number): TransferError {
  return new TransferError(
    code,
    `cannot do it: ${code}`,
    retryAfterSeconds === undefined ? {} : { retryAfterSeconds },
  );
}

/** Fails with each of these in turn, then succeeds. */
export function failing(...codes: readonly (ErrorCode | TransferError)[]): () => Promise<string> {
  const left = [...codes];
  return async () => {
    const next = left.shift();
    if (next === undefined) return await Promise.resolve('done');
    throw typeof next === 'string' ? failure(next) : next;
  };
}

/** The error that a run ends with, and the number of attempts. */
export async function endOf(
  { clock, retries }: RetriesScene,
  attempt: () => Promise<unknown>,
): Promise<{ error: TransferError; tries: number }> {
  let tries = 0;
  const run = retries.run(never, async () => {
    tries++;
    return await attempt();
  });
  try {
    await clock.runToEnd(run);
  } catch (error) {
    assert(error instanceof TransferError);
    return { error, tries };
  }
  return assert.fail('it succeeded');
}
