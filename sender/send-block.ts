/** One block onto the target, through whatever happens to the line on the way. */
import { formatAreas } from '../common/areas.ts';
import { TransferError } from '../common/errors.ts';
import type { Attempts } from './attempts.ts';
import type { OwedBlocks } from './owed-blocks.ts';
import type { BlockCounters } from './progress.ts';
import type { ReadBlock } from './read-block.ts';
import type { BlockHead, ReceiverClient } from './receiver-port.ts';

export interface SendBlockParts {
  readonly transferId: string;
  readonly attempts: Attempts;
  readonly counters: BlockCounters;
  /** The block may have been damaged in our memory. @throws when it is not what it was. */
  readonly check: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** @returns what the receiver has written and owes us to make durable. */
export async function sendBlock(
  lane: ReceiverClient,
  block: ReadBlock,
  { transferId, attempts, counters, check, signal }: SendBlockParts,
): Promise<OwedBlocks> {
  const { index, digest } = block;
  return await attempts.run(signal, async (failure) => {
    if (failure?.code === 'digest-mismatch') await check();
    if (failure !== undefined && isFateUnknown(failure)) {
      const head = await lane.headBlock(index, signal);
      if (head !== 'absent' && isAsSent(head, block)) {
        return { ranges: [[index, 1]], digest, epoch: head.epoch, generation: head.generation };
      }
    }
    if (failure !== undefined) counters.resent++;
    const receipt = await lane.putBlock(block, signal);
    if (receipt.transferId !== transferId) throw otherTransfer();
    return { ranges: [[index, 1]], digest, epoch: receipt.epoch, generation: receipt.generation };
  });
}

function isAsSent({ digest, sourceErrors }: BlockHead, block: ReadBlock): boolean {
  return digest.equals(block.digest) && sourceErrors === formatAreas(block.unreadable);
}

/** The request may have been carried out although no answer came. */
function isFateUnknown({ code }: TransferError): boolean {
  return code === 'connection-failed' || code === 'bad-answer' || code === 'too-slow';
}

export function otherTransfer(): TransferError {
  return new TransferError('transfer-mismatch', 'the receiver at this address serves another transfer now', {
    hint: 'use the ticket that it prints now',
  });
}
