/** The result of a comparison as lines and as a JSON event. Pure. */
import { countLeftOut } from '../../common/protocol/left-out.ts';
import { equalText } from '../../common/protocol/read-back.ts';
import { formatBlocks } from '../../common/ranges.ts';
import { formatSize } from '../../common/units.ts';
import { NO_DIFFERENCES, isEqual, type Comparison, type Differences } from '../transfer/comparison.ts';

export function comparisonEvent(comparison: Comparison): Record<string, unknown> {
  const { blocksTotal, bytesTotal, source, target, missing, isSealed, readBack, leftOut } = comparison;
  return {
    event: 'compared',
    isEqual: isEqual(comparison),
    state: isSealed ? 'sealed' : 'open',
    blocksTotal,
    bytesTotal,
    sourceDifferent: source,
    targetDifferent: target ?? null,
    missing,
    ...(readBack === null || !isEqual(comparison) ? {} : { readBack }),
    ...(leftOut === null ? {} : { leftOut }),
  };
}

export function comparisonText(comparison: Comparison, targetPath: string): string {
  const { blocksTotal, bytesTotal, target, readBack, leftOut } = comparison;
  const size = `${blocksTotal} blocks, ${formatSize(bytesTotal)}`;
  const omitted =
    leftOut === null
      ? ''
      : `omitted  ${countLeftOut(leftOut)} of the source were not read: zeros on the target\n`;
  if (isEqual(comparison)) return `equal    ${size}, on ${targetPath}: ${equalText(readBack)}\n${omitted}`;
  const lines = differencesOf(comparison, targetPath).map(({ name, what }) => `${name.padEnd(8)} ${what}\n`);
  if (target === undefined) {
    lines.push('note     the target was not read: the receiver was started with --verify none\n');
  }
  return lines.join('');
}

/** One sentence for each kind of difference; empty if all is equal. */
export function differenceSentences(comparison: Comparison, targetPath: string): string[] {
  return differencesOf(comparison, targetPath).map(({ what }) => what);
}

function differencesOf(
  { blocksTotal, source, target, missing, isSealed }: Comparison,
  targetPath: string,
): { name: string; what: string }[] {
  const recorded = isSealed ? 'what was sealed' : 'what was recorded';
  const item = (
    name: string,
    { count, ranges }: Differences,
    what: string,
  ): { name: string; what: string }[] =>
    count === 0 ? [] : [{ name, what: `${count} of ${blocksTotal} ${what}: ${formatBlocks(ranges)}` }];
  return [
    ...item('differs', source, `blocks of the source are not ${recorded}`),
    ...item('differs', target ?? NO_DIFFERENCES, `blocks on ${targetPath} are not ${recorded}`),
    ...item('missing', missing, `blocks are not on ${targetPath} yet`),
  ];
}
