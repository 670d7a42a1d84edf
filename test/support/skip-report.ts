/** What a test run leaves out: how many tests, why, and the commands that would let them run. */
import type { TestEvent } from 'node:test/reporters';
import { NEEDS_ROOT, NOT_APPLICABLE, NOT_INSTALLED, packagesFor } from './requires.ts';

export interface Skipped {
  readonly name: string;
  readonly file: string | undefined;
  readonly reason: string;
}

/** A skipped test or suite; undefined for any other event. */
export function skippedBy({ type, data }: TestEvent): Skipped | undefined {
  if (type !== 'test:pass' || data.skip === undefined || data.skip === false) return undefined;
  const reason = typeof data.skip === 'string' ? data.skip : 'no reason given';
  return { name: data.name, file: data.file, reason };
}

/** Tests that could have run on a better equipped machine. */
export function gapsIn(skipped: readonly Skipped[]): Skipped[] {
  return skipped.filter(({ reason }) => !reason.startsWith(NOT_APPLICABLE));
}

/** @param isAllRequired as in CI: the gaps are failures, and are listed one by one. */
export function skipLines(skipped: readonly Skipped[], isAllRequired: boolean): string[] {
  if (skipped.length === 0) return [];
  const counts = new Map<string, number>();
  for (const { reason } of skipped) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const gaps = gapsIn(skipped);
  return [
    `${skipped.length} tests or groups of tests were skipped:`,
    ...[...counts].sort(([, a], [, b]) => b - a).map(([reason, count]) => `  ${count}  ${reason}`),
    ...hints(gaps),
    ...(isAllRequired && gaps.length > 0
      ? ['FAILED: DDT_REQUIRE_ALL=1 allows no skipped tests, and these were skipped:', ...gaps.map(nameOf)]
      : []),
  ];
}

function nameOf({ name, file, reason }: Skipped): string {
  return `  ${file ?? 'unknown file'}: ${name}: ${reason}`;
}

function hints(gaps: readonly Skipped[]): string[] {
  const tools = gaps
    .filter(({ reason }) => reason.startsWith(NOT_INSTALLED))
    .flatMap(({ reason }) => reason.slice(NOT_INSTALLED.length).split(', '));
  const packages = packagesFor(tools);
  const install = packages.length > 0 ? `apt-get install ${packages.join(' ')} && ` : '';
  const isRootNeeded = gaps.some(({ reason }) => reason === NEEDS_ROOT);
  return install !== '' || isRootNeeded ? [`to run them, as root: ${install}npm test`] : [];
}
