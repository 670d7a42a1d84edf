/** What to send: the blocks, how many, and what becomes known when a pipe ends. */
import type { Clock } from '../../common/clock.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import type { Claim, TargetDescription, TransferStatus } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import type { Retries } from './retry.ts';
import type { BlockSupply } from '../source/block-supply.ts';
import type { BlockCounters } from './counters.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import type { SendReporter } from './reporter-port.ts';
import type { Source } from '../source/source.ts';
import type { Stream } from '../source/stream.ts';
import { makeSupply } from '../source/make-supply.ts';

/** What fixing the size of a pipe needs. */
export interface PlanParts {
  readonly control: ReceiverClient;
  readonly retries: Retries;
  readonly reporter: SendReporter;
  readonly signal: AbortSignal;
}

export interface PlanRequest {
  readonly source: Source | Stream;
  readonly connections: number;
  readonly memoryBytes: number;
}

export interface SendPlan {
  readonly supply: BlockSupply;
  readonly counters: BlockCounters;
  /** The size of a pipe is the maximum until it has ended. */
  readonly geometry: Geometry;
  readonly bytesTotal: number | null;
}

export function planSend(
  request: PlanRequest,
  status: TransferStatus,
  { clock, digest }: { readonly clock: Clock; readonly digest: BlockDigest },
  parts: PlanParts,
): SendPlan {
  const geometry = { sizeBytes: status.size ?? status.sizeMax ?? 0, blockSizeBytes: status.blockSize ?? 0 };
  const counters = newCounters(blockCountOf(geometry));
  let isSizeKnown = status.size !== null;
  const onEnd = async (sizeBytes: number, signal: AbortSignal): Promise<void> => {
    parts.reporter.fact(`size     ${request.source.description.path} ended after ${sizeBytes} bytes`);
    if (!isSizeKnown) await fixSize(sizeBytes, request, status, { ...parts, signal });
    isSizeKnown = true;
    geometry.sizeBytes = sizeBytes;
    counters.total = blockCountOf(geometry);
  };
  return {
    supply: makeSupply(request, { status, geometry, digest, clock, onEnd }),
    counters,
    geometry,
    get bytesTotal() {
      return isSizeKnown ? geometry.sizeBytes : null;
    },
  };
}

function newCounters(total: number): BlockCounters {
  return { total, read: 0, durable: 0, verified: 0, sent: 0, copied: 0, skipped: 0, zero: 0, resent: 0 };
}

/** Claims the size of a source that has ended. */
async function fixSize(
  size: number,
  { source }: PlanRequest,
  status: TransferStatus,
  { control, retries, reporter, signal }: PlanParts,
): Promise<void> {
  const { blockSize, digest } = status;
  const claimed: Claim = {
    size,
    blockSize: blockSize ?? 0,
    source: source.description,
    stream: true,
    ...(digest === null ? {} : { digest }),
  };
  await retries.run(signal, async () => await control.claim(claimed, signal));
  const note = remainderNote(status.target, size);
  if (note !== undefined) reporter.fact(note);
}

/**
 * What the copy leaves unchanged; undefined if the target has no room after it, or takes the size of the
 * source.
 */
export function remainderNote(
  { size }: Pick<TargetDescription, 'size'>,
  sizeBytes: number | null,
): string | undefined {
  if (size === null || sizeBytes === null || size <= sizeBytes) return undefined;
  return `note     the last ${formatSize(size - sizeBytes)} of the target stay as they are`;
}
