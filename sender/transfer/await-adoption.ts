/** While the receiver reads what the target held before, nothing can be listed or sent. */
import type { Clock } from '../../common/clock.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { blockCountOf } from '../../common/geometry.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { SendReporter } from './reporter-port.ts';
import { ReadingProgress } from './reading-progress.ts';
import type { Retries } from './retry.ts';

const POLL_MS = 1000;
/** Between two lines of progress: reading a disk takes minutes to hours. */
const REPORT_MS = 10_000;

export interface AdoptionParts {
  readonly control: ReceiverClient;
  readonly retries: Retries;
  readonly reporter: Pick<SendReporter, 'fact'>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** @returns the status when all of it has been read. @throws TransferError what stopped the reading there. */
export async function awaitAdoption(
  claimed: TransferStatus,
  { control, retries, reporter, clock, signal }: AdoptionParts,
): Promise<TransferStatus> {
  let status = claimed;
  let reportedMs = -Infinity;
  const reading = new ReadingProgress(() => blocksIn(claimed));
  while (status.adopting !== null) {
    const { done, total } = status.adopting;
    if (reading.note(done)) retries.noteProgress();
    retries.keepWaiting('is reading the target');
    if (clock.monotonicMs() - reportedMs >= REPORT_MS) {
      reportedMs = clock.monotonicMs();
      const percent = total === 0 ? 100 : Math.floor((done * 100) / total);
      reporter.fact(`adopt    the receiver is reading the target: ${percent} %`);
    }
    await clock.sleep(POLL_MS, signal);
    status = await retries.run(signal, async () => await control.transfer(signal));
  }
  if (claimed.adopting !== null) {
    const { durable, verified, absent } = status.blocks;
    reporter.fact(
      `adopt    the target was read: ${durable + verified} of ${durable + verified + absent} blocks`,
    );
  }
  return status;
}

function blocksIn({ size, sizeMax, blockSize }: TransferStatus): number {
  return blockCountOf({ sizeBytes: size ?? sizeMax ?? 0, blockSizeBytes: blockSize ?? 1 });
}
