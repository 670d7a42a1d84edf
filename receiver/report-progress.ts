/** `kill -USR1`: how far each transfer is, as a line of the log. */
import { BLOCK_STATES } from '../common/protocol/protocol.ts';
import type { Log } from './console/log.ts';
import type { Served } from './start.ts';
import type { Transfer } from './transfer/transfer.ts';

export function reportProgress(served: readonly Served[], log: Log): void {
  for (const { transfer } of served) {
    const own = served.length === 1 ? log : log.of(transfer.target.identity.path);
    own.info(progressText(transfer));
  }
}

/** `256 blocks: 100 verified, 20 durable, 4 written, 132 absent`. */
function progressText({ opened, sealed }: Transfer): string {
  if (opened === undefined) return 'nothing is claimed yet';
  const { table, blockCount, claim } = opened;
  const counts = BLOCK_STATES.toReversed().map((state) => `${table.countOf(state)} ${state}`);
  const total = claim.size === null ? 'a pipe that has not ended' : `${blockCount} blocks`;
  return `${total}${sealed === undefined ? '' : ', sealed'}: ${counts.join(', ')}`;
}
