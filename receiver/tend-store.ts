/** What a store needs of its receivers every hour: a sign of life, and condemned blocks stored again. */
import type { Clock } from '../common/clock.ts';
import { reasonOf } from '../common/errors.ts';
import type { Log } from './console/log.ts';
import { keepForOthers } from './transfer/shared-transfer.ts';
import type { Transfer } from './transfer/transfer.ts';

const INTERVAL_MS = 3_600_000;

export interface TendParts {
  readonly clock: Clock;
  readonly log: Pick<Log, 'warning'>;
}

/**
 * Resolves when it is done for the first time; continues until it is disposed. For any other target it does
 * nothing. @throws TransferError `io-error`, `no-space`.
 */
export async function tendStore(transfer: Transfer, { clock, log }: TendParts): Promise<Disposable> {
  const end = new AbortController();
  const { store } = transfer.target;
  if (store !== undefined) {
    await store.tend();
    void tendAgain(transfer, { clock, log }, end.signal);
  }
  return { [Symbol.dispose]: () => end.abort() };
}

async function tendAgain(transfer: Transfer, { clock, log }: TendParts, signal: AbortSignal): Promise<void> {
  for (;;) {
    await clock.sleep(INTERVAL_MS, signal).catch(() => {});
    if (signal.aborted) return;
    try {
      await keepForOthers(transfer);
      if ((await transfer.target.store?.tend()) !== true || transfer.sealed !== undefined) continue;
      log.warning(
        'the store was not looked at for many hours, and may have been collected: all is read again',
      );
      transfer.readAgain();
    } catch (error) {
      if (!signal.aborted) log.warning(`cannot look after the store; trying again: ${reasonOf(error)}`);
    }
  }
}
