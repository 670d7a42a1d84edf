/** What a run has proven, in large letters and a few lines. Pure. */
import { countAreas } from '../../common/areas.ts';
import { formatDuration, formatSize } from '../../common/units.ts';
import { proofText } from '../../common/watch/sealed-result.ts';
import type { WatchResult } from '../../common/watch/watch-status.ts';
import type { RunEnd } from '../display/reporter-watch.ts';
import { differenceSentences } from '../display/comparison-text.ts';

/** @param source as the terminal names it: `/dev/sdc: ATA …`. */
export function resultOf(end: RunEnd, source: string | null): WatchResult {
  if (end.kind === 'failed') {
    const { message, hint } = end.error;
    const next = hint === undefined ? [] : [hint];
    return { kind: 'failed', title: 'Not complete', lines: [message, ...next] };
  }
  const { targetPath } = end;
  if (end.kind === 'compared') {
    return {
      kind: 'unproven',
      title: 'Not equal: nothing was sent',
      lines: differenceSentences(end.comparison, targetPath),
    };
  }
  const { facts } = end;
  const what = `${facts.counters.total} blocks, ${formatSize(facts.bytesTotal)}`;
  const time = `${what}, in ${formatDuration(facts.seconds * 1000)}.`;
  if (end.kind === 'kept-open') {
    return {
      kind: 'unproven',
      title: 'Copied, not sealed',
      lines: [time, 'Nothing is proven yet: for the last pass, run it again without --keep-open.'],
    };
  }
  if (facts.verified === 'none') {
    const why = 'Nothing is proven: the receiver was started with --verify none.';
    return { kind: 'unproven', title: 'Copied, not read back', lines: [time, why] };
  }
  const path = source?.replace(/: .*$/s, '') ?? 'the source';
  const proof = proofText(path, targetPath, facts.readBack);
  if (facts.unreadable.length === 0) return { kind: 'proven', title: 'Proven equal', lines: [proof, time] };
  const zeros = `${countAreas(facts.unreadable)} of ${path} could not be read, and are zeros there.`;
  return { kind: 'unproven', title: 'Equal, except for unreadable areas', lines: [zeros, proof, time] };
}

/** One of several disks, as far as they have ended. */
export interface EndedDisk {
  /** `/dev/sda onto /dev/vdb`. */
  readonly name: string;
  readonly result: WatchResult;
}

const WORST_FIRST = ['failed', 'unproven', 'proven'] as const;

/** Never better than the worst of them. @param count of all disks. */
export function resultOfSeveral(ended: readonly EndedDisk[], count: number): WatchResult {
  const worst = WORST_FIRST.map((kind) => ended.find(({ result }) => result.kind === kind)?.result);
  const [first] = worst.filter((result) => result !== undefined);
  const isAll = ended.length === count;
  const kind = first?.kind === 'proven' && !isAll ? 'unproven' : (first?.kind ?? 'unproven');
  const lines = ended.map(({ name, result }) => `${name}: ${[result.title, ...result.lines].join('. ')}`);
  const title = isAll && kind === 'proven' ? `Proven equal: all ${count} disks` : undefined;
  return { kind, title: title ?? `${ended.length} of ${count} disks: ${first?.title ?? ''}`, lines };
}
