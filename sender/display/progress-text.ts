/** Progress and results as plain lines and as JSON events. Pure. */
import { AREAS_NAMED_MAX } from '../../common/area-report.ts';
import { countAreas, formatAreas, type Area } from '../../common/areas.ts';
import { countLeftOut } from '../../common/protocol/left-out.ts';
import { equalText } from '../../common/protocol/read-back.ts';
import { formatDuration, formatRate, formatSize } from '../../common/units.ts';
import type { ProbeFacts } from '../transfer/probe.ts';
import type { BlockCounters, DoneFacts, DryRunFacts } from '../transfer/counters.ts';
import { PROGRESS_COLUMNS, type Snapshot } from './progress-columns.ts';

export function progressEvent(snapshot: Snapshot): Record<string, unknown> {
  const members = PROGRESS_COLUMNS.flatMap(({ name, value }) =>
    value === undefined ? [] : [[name, value(snapshot)] as const],
  );
  return { event: 'progress', ...Object.fromEntries(members) };
}

/** ` 38 %  354.2 GiB durable  92.0 Mbit/s  line 40.0 Mbit/s  8 connections  ETA 13 h 40 m`. */
export function progressLine(snapshot: Snapshot): string {
  const columns = PROGRESS_COLUMNS.filter(({ only }) => only !== 'live');
  const texts = columns.map(({ text }) => text?.(snapshot));
  return texts.filter((text) => text !== undefined).join('  ');
}

export function doneEvent(facts: DoneFacts): Record<string, unknown> {
  const { counters } = facts;
  return {
    event: 'done',
    blocksTotal: counters.total,
    blocksSent: counters.sent,
    blocksCopied: counters.copied,
    blocksSkipped: counters.skipped,
    blocksZero: counters.zero,
    blocksResent: counters.resent,
    bytesTotal: facts.bytesTotal,
    bytesWire: facts.bytesWire,
    seconds: Math.round(facts.seconds * 1000) / 1000,
    root: facts.root,
    verified: facts.verified,
    ...(facts.readBack === null ? {} : { readBack: facts.readBack }),
    ...(facts.verifiedAt === null ? {} : { verifiedAt: facts.verifiedAt }),
    ...(facts.unreadable.length === 0 ? {} : { unreadable: facts.unreadable }),
    ...(facts.leftOut === null ? {} : { leftOut: facts.leftOut }),
  };
}

export function doneSentence(facts: DoneFacts, targetPath: string): string {
  const { counters } = facts;
  const { verifiedAt } = facts;
  // Where nothing was sent the date is the news.
  const isProof = verifiedAt !== null && counters.skipped === counters.total;
  const when = isProof ? ` (${verifiedAt.slice(0, 19).replace('T', ' ')} UTC)` : '';
  const how = facts.verified === 'none' ? 'NOT read back' : `${equalText(facts.readBack)}${when}`;
  return `${counters.total} blocks, ${formatSize(facts.bytesTotal)}, on ${targetPath}: durable, ${how}`;
}

export function doneText(facts: DoneFacts, targetPath: string): string {
  const { counters } = facts;
  return [
    `done     ${doneSentence(facts, targetPath)}`,
    `blocks   ${blocksText(counters)}`,
    `line     ${formatSize(facts.bytesWire)} in ${formatDuration(facts.seconds * 1000)}`,
    `root     ${facts.root}`,
    ...(facts.unreadable.length === 0 ? [] : [unreadableText(facts.unreadable)]),
    ...omittedLines(facts),
    '',
  ].join('\n');
}

/** As `done`, without a receipt. */
export function keptOpenEvent(facts: DoneFacts): Record<string, unknown> {
  const { root: _root, ...members } = doneEvent(facts);
  return { ...members, event: 'kept-open' };
}

export function keptOpenText(facts: DoneFacts, targetPath: string): string {
  const { counters } = facts;
  return [
    `pass     ${counters.total} blocks, ${formatSize(facts.bytesTotal)}, on ${targetPath}, not sealed`,
    `blocks   ${blocksText(counters)}`,
    `line     ${formatSize(facts.bytesWire)} in ${formatDuration(facts.seconds * 1000)}`,
    ...omittedLines(facts),
    '',
  ].join('\n');
}

/** Nobody is to take it for a copy of the whole disk. */
function omittedLines({ leftOut }: DoneFacts): string[] {
  if (leftOut === null) return [];
  return [`omitted  ${countLeftOut(leftOut)} of the source were not read: zeros on the target`];
}

/** After a resumed run people want to know first how much was new. */
function blocksText({ total, sent, copied, skipped, zero, resent }: Readonly<BlockCounters>): string {
  if (skipped === 0) {
    const onTarget = copied === 0 ? '' : `${copied} copied on the target, `;
    return `${sent} sent, ${onTarget}${zero} zero, ${resent} resent`;
  }
  const missing = total - skipped;
  const what = `${missing} of ${total} blocks had changed or were missing and were sent`;
  const onTarget = copied === 0 ? '' : `, ${copied} copied on the target`;
  return `${what}, ${zero} of them as zeros${onTarget}; ${resent} resent`;
}

export function dryRunText(facts: DryRunFacts): string {
  const { blocksTotal, blocksToSend, blocksSkipped, blocksZero, bytesTotal } = facts;
  const sealed = facts.isSealed && blocksToSend > 0 ? ' with --update' : '';
  const what =
    blocksZero === null
      ? `all ${blocksTotal} blocks, ${formatSize(bytesTotal)}, would be read, and sent unless they are zero`
      : `${blocksToSend} of ${blocksTotal} blocks would be sent${sealed}, ${blocksZero} of them as zeros; ` +
        `${blocksSkipped} are present and equal`;
  return `dry run  ${what}; nothing was sent\n`;
}

/** A rate of disks, which are in bytes. */
function diskRateText(name: string, bytesPerSecond: number | null): string {
  if (bytesPerSecond === null) return `${name} not measured`;
  return `${name} ${formatSize(Math.round(bytesPerSecond))}/s`;
}

export function probeText(facts: ProbeFacts): string {
  const { lineBytesPerSecond, roundTripMs, connections, bytesTotal, secondsEstimated, limit } = facts;
  const [source, target] = [facts.sourceBytesPerSecond, facts.targetBytesPerSecond];
  const rate = `${formatRate(lineBytesPerSecond)} with ${connections} connections`;
  const time = `${formatSize(bytesTotal)} in about ${formatDuration(secondsEstimated * 1000)}`;
  return [
    `line     ${rate}, round trip ${roundTripMs < 10 ? roundTripMs.toFixed(1) : Math.round(roundTripMs)} ms`,
    `reading  ${diskRateText('source', source)}, ${diskRateText('target', target)}`,
    `probe    ${time}: the ${limit} is the limit; zeros and compression make it less; nothing was written`,
    '',
  ].join('\n');
}

/** A result in one line, for those who are not looking. @param text its lines, each after a name. */
export function lastWordOf(code: string, text: string): { code: string; message: string } {
  const lines = text.trimEnd().split('\n');
  return { code, message: lines.map((line) => line.replace(/^(dry run|\w+) +/, '')).join('; ') };
}

function unreadableText(areas: readonly Area[]): string {
  return `zeros    ${countAreas(areas)} were unreadable: ${formatAreas(areas, AREAS_NAMED_MAX)}`;
}
