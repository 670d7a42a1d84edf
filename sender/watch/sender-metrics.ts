/** `/metrics` of a ddt-send: all figures are of the disk that is being copied. */
import { bytesOf, type Area } from '../../common/areas.ts';
import { processMetrics, type Metric } from '../../common/watch/metrics.ts';
import type { Waiting } from '../display/outage.ts';
import type { Snapshot } from '../display/progress-columns.ts';

export interface SenderFigures {
  /** undefined until something is sent. */
  readonly snapshot: Snapshot | undefined;
  readonly waiting: Waiting | undefined;
  readonly unreadable: readonly Area[];
  /** Blocks that the target had, and had no more. */
  readonly lostCount: number;
}

export function senderMetrics({ snapshot, waiting, unreadable, lostCount }: SenderFigures): Metric[] {
  const gauge = (name: string, help: string, value: number | null | undefined): Metric => ({
    name: `ddt_send_${name}`,
    help,
    type: 'gauge',
    samples: [{ value: value ?? undefined }],
  });
  const counter = (name: string, help: string, value: number | undefined): Metric => ({
    ...gauge(name, help, value),
    type: 'counter',
  });
  const { counters, bytesTotal, blockSizeBytes = 0 } = snapshot ?? {};
  const outcomes = (['sent', 'zero', 'copied', 'skipped', 'resent'] as const).map((outcome) => ({
    labels: { outcome },
    value: counters?.[outcome],
  }));
  const sizeOf = (blocks: number | undefined): number | undefined =>
    blocks === undefined ? undefined : Math.min(bytesTotal ?? Infinity, blocks * blockSizeBytes);
  return [
    ...processMetrics('ddt_send'),
    gauge('source_bytes', 'Size of the source; missing until a pipe has ended', bytesTotal),
    gauge(
      'arrived_bytes',
      'Of the source, at the receiver, unfinished blocks included',
      snapshot?.bytesArrived,
    ),
    gauge(
      'durable_bytes',
      'Of the source, flushed and journalled at the receiver',
      sizeOf(counters?.durable),
    ),
    gauge('verified_bytes', 'Of the target, read back and equal', sizeOf(counters?.verified)),
    counter(
      'line_bytes_total',
      'Handed to the connections, compressed, with what was sent twice',
      snapshot?.bytesWire,
    ),
    {
      name: 'ddt_send_blocks_total',
      help: 'Blocks by what was done: sent, zeros, copied at the receiver, skipped since equal, sent again',
      type: 'counter',
      samples: outcomes,
    },
    counter(
      'lost_blocks_total',
      'Blocks that were durable on the target and are not there any more',
      lostCount,
    ),
    gauge('unreadable_bytes', 'Of the source, replaced by zeros', bytesOf(unreadable)),
    gauge('connections', 'Open connections to the receiver', snapshot?.connections),
    gauge(
      'limit_bytes_per_second',
      'Limit of the line; missing without one',
      finite(snapshot?.limitBytesPerSecond),
    ),
    gauge(
      'remaining_seconds',
      'Estimated time to the end; missing where nobody knows',
      snapshot?.secondsLeft,
    ),
    gauge(
      'waiting_seconds',
      'For how long no data has arrived; 0 if some does',
      (waiting?.forMs ?? 0) / 1000,
    ),
  ];
}

function finite(value: number | undefined): number | undefined {
  return value === undefined || Number.isFinite(value) ? value : undefined;
}
