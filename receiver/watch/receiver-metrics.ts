/** `/metrics` of a ddt-receive: each figure for each of its targets, which the command line names. */
import { BLOCK_STATES } from '../../common/protocol/protocol.ts';
import { processMetrics, type Metric } from '../../common/watch/metrics.ts';
import type { TransferProgress } from '../transfer/transfer.ts';

/** Why a block that was read back is not as it should be. */
export const BAD_REASONS = ['mismatch', 'changed', 'unstable'] as const;
export type BadReason = (typeof BAD_REASONS)[number];

export interface TargetFigures {
  /** As named on the command line. */
  readonly name: string;
  /** undefined before the claim. */
  readonly progress: TransferProgress | undefined;
  readonly stateCounts: Readonly<Record<(typeof BLOCK_STATES)[number], number>> | undefined;
  readonly receivedBytes: number;
  readonly badCounts: Readonly<Record<BadReason, number>>;
  readonly errorCount: number;
  readonly unreadableCount: number;
  /** undefined: there is one, or there was none yet. */
  readonly senderAbsentMs: number | undefined;
  readonly isSealed: boolean;
  readonly isFailed: boolean;
}

export function receiverMetrics(targets: readonly TargetFigures[]): Metric[] {
  const gauge = (
    name: string,
    help: string,
    valueOf: (target: TargetFigures) => number | null | undefined,
  ): Metric => ({
    name: `ddt_receive_${name}`,
    help,
    type: 'gauge',
    samples: targets.map((target) => ({ labels: labelsOf(target), value: valueOf(target) ?? undefined })),
  });
  const counter = (...parts: Parameters<typeof gauge>): Metric => ({ ...gauge(...parts), type: 'counter' });
  return [
    ...processMetrics('ddt_receive'),
    gauge(
      'source_bytes',
      'Size of the claimed source; missing before',
      ({ progress }) => progress?.sizeBytes,
    ),
    gauge('durable_bytes', 'On the target, flushed and journalled', ({ progress }) => progress?.durableBytes),
    gauge(
      'verified_bytes',
      'Read back from the target and equal; missing where nothing is read back',
      ({ progress }) => progress?.verifiedBytes,
    ),
    {
      name: 'ddt_receive_blocks',
      help: 'Blocks of the target in each state',
      type: 'gauge',
      samples: targets.flatMap((target) =>
        BLOCK_STATES.map((state) => ({
          labels: { ...labelsOf(target), state },
          value: target.stateCounts?.[state],
        })),
      ),
    },
    counter('received_bytes_total', 'From senders, as it travelled', ({ receivedBytes }) => receivedBytes),
    {
      name: 'ddt_receive_bad_blocks_total',
      help: 'Blocks that read back different, were changed by another program, or were different only once',
      type: 'counter',
      samples: targets.flatMap((target) =>
        BAD_REASONS.map((reason) => ({
          labels: { ...labelsOf(target), reason },
          value: target.badCounts[reason],
        })),
      ),
    },
    counter(
      'target_errors_total',
      'Writes and flushes of the target that failed',
      ({ errorCount }) => errorCount,
    ),
    gauge(
      'unreadable_areas',
      'Areas of the source that are zeros on the target',
      ({ unreadableCount }) => unreadableCount,
    ),
    gauge(
      'sender_absent_seconds',
      'For how long the sender has been gone; 0 while there is one',
      ({ senderAbsentMs = 0 }) => senderAbsentMs / 1000,
    ),
    gauge('sealed', '1 if the copy is complete', ({ isSealed }) => Number(isSealed)),
    gauge('failed', '1 if the transfer refuses everything since its journal has failed', ({ isFailed }) =>
      Number(isFailed),
    ),
  ];
}

function labelsOf({ name }: TargetFigures): { target: string } {
  return { target: name };
}
