/** What is shown of an object store: its copies, a check, a collection. Pure. */
import { countAreas, formatAreas } from '../../common/areas.ts';
import { diskKind, diskName } from '../../common/disk/disk-line.ts';
import { offsetOf, lengthOf, blockIndexOf, type Geometry } from '../../common/geometry.ts';
import { countLeftOut } from '../../common/protocol/left-out.ts';
import type { SealReceipt, SourceDescription } from '../../common/protocol/protocol.ts';
import { countOf, formatBlocks, type Range } from '../../common/ranges.ts';
import { formatDuration, formatSize } from '../../common/units.ts';
import type { Collection, Tally } from './collect.ts';
import type { RunningTransfer, StoreListing } from './list-store.ts';

/** In a line. */
const AREAS_MAX = 4;

/** A table of the copies, and a line for each transfer that runs. */
export function storeLines({ copies, running, nowMs }: StoreListing): string[] {
  const rows = copies.map(({ name, when, receipt, problem }) => [
    name,
    when,
    receipt === undefined ? '' : formatSize(receipt.size),
    receipt === undefined ? `problem: ${problem ?? ''}` : `${sourceText(receipt.source)}${marksOf(receipt)}`,
  ]);
  const table = rows.length === 0 ? [] : columns([['name', 'time', 'size', 'source'], ...rows]);
  const open = running.map((one) => runningLine(one, nowMs));
  return [...table, ...(table.length > 0 && open.length > 0 ? [''] : []), ...open];
}

function runningLine(
  { name, seenAtMs, startedAtMs, sizeBytes, source, problem }: RunningTransfer,
  nowMs: number,
): string {
  const begun = startedAtMs === null ? '' : `, begun ${new Date(startedAtMs).toISOString()}`;
  const seen = `last at work ${formatDuration(Math.max(0, nowMs - seenAtMs))} ago`;
  if (problem !== undefined) return `open     ${name}: ${seen}; problem: ${problem}`;
  const size = sizeBytes === null ? '' : `${formatSize(sizeBytes)} of `;
  const what = source === null ? 'no sender yet' : `${size}${sourceText(source)}`;
  return `open     ${name}: ${what}${begun}, ${seen}`;
}

function sourceText(source: SourceDescription | null): string {
  if (source === null) return 'unknown source';
  return source.path === '' ? diskKind(source) : `${diskName(source)}: ${diskKind(source)}`;
}

function marksOf({ unreadable, leftOut, verified }: SealReceipt): string {
  const marks = [
    ...(unreadable.length === 0 ? [] : [`${countAreas(unreadable)} unreadable`]),
    ...(leftOut === null ? [] : [`${countLeftOut(leftOut)} left out`]),
    ...(verified === 'none' ? ['not read back'] : []),
  ];
  return marks.length === 0 ? '' : `; ${marks.join('; ')}`;
}

/** Left-aligned, two blanks apart. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

export interface DamageToShow {
  /** As people type it. */
  readonly name: string;
  readonly geometry: Geometry;
  readonly blocks: readonly Range[];
  readonly blockCount: number;
}

/** `copy     s3://disks#web1@…: 2 of 100 blocks are damaged or missing: blocks 4-5 (offset+length …)`. */
export function damageLine({ name, geometry, blocks, blockCount }: DamageToShow): string {
  const areas = blocks.map(([first, count]) => {
    const start = offsetOf(blockIndexOf(first, geometry), geometry);
    const last = blockIndexOf(first + count - 1, geometry);
    return [start, offsetOf(last, geometry) + lengthOf(last, geometry) - start] as const;
  });
  const what = `${countOf(blocks)} of ${blockCount} blocks are damaged or missing: ${formatBlocks(blocks)}`;
  return `copy     ${name}: ${what} (offset+length ${formatAreas(areas, AREAS_MAX)})`;
}

/** @param again the command that deletes the rest. */
export function collectionLines({ tally, nextAtMs }: Collection, again: string): string[] {
  const { keep, young, condemn, waits, delete: deleted } = tally;
  const left = { chunks: condemn.chunks + waits.chunks, bytes: condemn.bytes + waits.bytes };
  const lines = [
    `deleted  ${countText(deleted)}`,
    `kept     ${countText(keep)} that copies need`,
    ...(young.chunks === 0 ? [] : [`young    ${countText(young)} that no copy needs yet: left alone`]),
  ];
  if (left.chunks === 0 || nextAtMs === undefined) return lines;
  const when = new Date(Math.ceil(nextAtMs / 1000) * 1000).toISOString().replace('.000Z', 'Z');
  return [
    ...lines,
    `waiting  ${countText(left)} that no copy needs, ${condemn.chunks} of them since now`,
    `next     from ${when} on: ${again}`,
  ];
}

function countText({ chunks, bytes }: Tally): string {
  return `${chunks} ${chunks === 1 ? 'chunk' : 'chunks'}, ${formatSize(bytes)}`;
}
