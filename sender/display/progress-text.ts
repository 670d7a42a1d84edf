/** What a run has done so far, and how it is told: as JSON lines or as plain lines. Pure. */
import { AREAS_NAMED_MAX } from '../../common/area-report.ts';
import { countAreas, formatAreas, type Area } from '../../common/areas.ts';
import { formatDuration, formatRate, formatSize } from '../../common/units.ts';
import type { BlockCounters, DoneFacts, DryRunFacts } from '../transfer/counters.ts';

export interface Snapshot {
  readonly counters: Readonly<BlockCounters>;
  /** null while the source has not ended and may have any size. */
  readonly bytesTotal: number | null;
  readonly blockSizeBytes: number;
  readonly bytesWire: number;
  readonly bytesPerSecond: number;
  readonly connections: number;
  readonly secondsLeft: number | null;
}

export function progressEvent(snapshot: Snapshot): Record<string, unknown> {
  const { counters } = snapshot;
  return {
    event: 'progress',
    blocksTotal: snapshot.bytesTotal === null ? null : counters.total,
    blocksDurable: counters.durable,
    blocksVerified: counters.verified,
    bytesTotal: snapshot.bytesTotal,
    bytesWire: snapshot.bytesWire,
    bytesPerSecond: Math.round(snapshot.bytesPerSecond),
    connections: snapshot.connections,
    secondsLeft: snapshot.secondsLeft,
  };
}

/** `38 %  354.2 GiB verified  92.0 Mbit/s  8 connections  ETA 13 h 40 m`. */
export function progressLine(snapshot: Snapshot): string {
  const { counters, bytesTotal, blockSizeBytes } = snapshot;
  // Not rounded up: 100 % is said when all is durable and not before.
  const percent = counters.total === 0 ? 100 : Math.floor((counters.durable * 100) / counters.total);
  const bytesOf = (blocks: number): number => Math.min(bytesTotal ?? Infinity, blocks * blockSizeBytes);
  const parts = [
    ...(bytesTotal === null ? [] : [`${String(percent).padStart(3)} %`]),
    `${formatSize(bytesOf(counters.durable))} durable`,
    ...(counters.verified > 0 ? [`${formatSize(bytesOf(counters.verified))} verified`] : []),
    formatRate(snapshot.bytesPerSecond),
    `${snapshot.connections} ${snapshot.connections === 1 ? 'connection' : 'connections'}`,
  ];
  if (counters.resent > 0) parts.push(`${counters.resent} resent`);
  const { secondsLeft } = snapshot;
  if (bytesTotal !== null) {
    parts.push(secondsLeft === null ? 'ETA unknown' : `ETA ${formatDuration(secondsLeft * 1000)}`);
  }
  return parts.join('  ');
}

export function doneEvent(facts: DoneFacts): Record<string, unknown> {
  const { counters } = facts;
  return {
    event: 'done',
    blocksTotal: counters.total,
    blocksSent: counters.sent,
    blocksSkipped: counters.skipped,
    blocksZero: counters.zero,
    blocksResent: counters.resent,
    bytesTotal: facts.bytesTotal,
    bytesWire: facts.bytesWire,
    seconds: Math.round(facts.seconds * 1000) / 1000,
    root: facts.root,
    verified: facts.verified,
    ...(facts.unreadable.length === 0 ? {} : { unreadable: facts.unreadable }),
  };
}

export function doneText(facts: DoneFacts, targetPath: string): string {
  const { counters } = facts;
  const how = facts.verified === 'none' ? 'durable, NOT read back' : 'durable, read back and equal';
  return [
    `done     ${counters.total} blocks, ${formatSize(facts.bytesTotal)}, on ${targetPath}: ${how}`,
    `blocks   ${blocksText(counters)}`,
    `line     ${formatSize(facts.bytesWire)} in ${formatDuration(facts.seconds * 1000)}`,
    `root     ${facts.root}`,
    ...(facts.unreadable.length === 0 ? [] : [unreadableText(facts.unreadable)]),
    '',
  ].join('\n');
}

/** Where blocks were there already, what is new comes first. */
function blocksText({ total, sent, skipped, zero, resent }: Readonly<BlockCounters>): string {
  if (skipped === 0) return `${sent} sent, ${zero} zero, ${resent} resent`;
  const missed = total - skipped;
  const what = `${missed} of ${total} blocks had changed or were missing and were sent`;
  return `${what}, ${zero} of them as zeros; ${resent} resent`;
}

export function dryRunText(facts: DryRunFacts): string {
  const { blocksTotal, blocksToSend, blocksSkipped, blocksZero, bytesTotal } = facts;
  const what =
    blocksZero === null
      ? `all ${blocksTotal} blocks, ${formatSize(bytesTotal)}, would be read, and sent unless they are zero`
      : `${blocksToSend} of ${blocksTotal} blocks would be sent, ${blocksZero} of them as zeros; ` +
        `${blocksSkipped} are there and equal`;
  return `dry run  ${what}; nothing was sent\n`;
}

function unreadableText(areas: readonly Area[]): string {
  return `zeros    ${countAreas(areas)} could not be read: ${formatAreas(areas, AREAS_NAMED_MAX)}`;
}
