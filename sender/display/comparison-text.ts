/** The result of a comparison as lines and as a JSON event. Pure. */
import { formatBlocks } from '../../common/ranges.ts';
import { formatSize } from '../../common/units.ts';
import { isEqual, type Comparison, type Differences } from '../transfer/comparison.ts';

export function comparisonEvent(comparison: Comparison): Record<string, unknown> {
  const { blocksTotal, bytesTotal, source, target, missing, isSealed } = comparison;
  return {
    event: 'compared',
    isEqual: isEqual(comparison),
    state: isSealed ? 'sealed' : 'open',
    blocksTotal,
    bytesTotal,
    sourceDifferent: source,
    targetDifferent: target ?? null,
    missing,
  };
}

export function comparisonText(comparison: Comparison, targetPath: string): string {
  const { blocksTotal, bytesTotal, source, target, missing, isSealed } = comparison;
  const size = `${blocksTotal} blocks, ${formatSize(bytesTotal)}`;
  if (isEqual(comparison)) return `equal    ${size}, on ${targetPath}: read back and equal\n`;
  const recorded = isSealed ? 'what was sealed' : 'what was recorded';
  const line = (name: string, { count, ranges }: Differences, what: string): string[] =>
    count === 0 ? [] : [`${name} ${count} of ${blocksTotal} ${what}: ${formatBlocks(ranges)}`];
  return [
    ...line('differs ', source, `blocks of the source are not ${recorded}`),
    ...(target === undefined
      ? ['note     the target was not read: the receiver was started with --verify none']
      : line('differs ', target, `blocks on ${targetPath} are not ${recorded}`)),
    ...line('missing ', missing, `blocks are not on ${targetPath} yet`),
    '',
  ].join('\n');
}
