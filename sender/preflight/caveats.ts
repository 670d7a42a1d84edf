/** What keeps a finished copy from being a proof, in words: with any of these the exit status is 3. */
import { countAreas } from '../../common/areas.ts';
import type { DoneFacts } from '../transfer/counters.ts';
import { runOutText } from '../bad-sectors/optical-run-out.ts';
import type { Source } from '../source/source.ts';

export interface Doubts {
  readonly warnings: readonly string[];
  readonly hint: string | undefined;
}

/** @param lists files in which the unreadable areas are listed. */
export function doubtsOf(
  { verified, unreadable }: Pick<DoneFacts, 'verified' | 'unreadable'>,
  { description: { path }, runOut }: Pick<Source, 'description' | 'runOut'>,
  lists: readonly string[],
): Doubts {
  const warnings: string[] = [];
  if (verified === 'none') {
    warnings.push('the receiver was started with --verify none: nothing was read back');
  }
  if (unreadable.length === 0) return { warnings, hint: undefined };
  const where =
    lists.length === 0 ? 'the receipt lists them (--receipt)' : `listed in ${lists.join(' and ')}`;
  const what = `${countAreas(unreadable)} of ${path} could not be read and are zeros on the target`;
  warnings.push(`${what}; ${where}`);
  const note = runOutText(runOut, path, unreadable);
  if (note !== undefined) warnings.push(note);
  // Of a run-out there is nothing more to be had.
  const isDamage = note === undefined || unreadable.some(([offset]) => offset < (runOut?.isoSizeBytes ?? 0));
  if (!isDamage) return { warnings, hint: undefined };
  const hint = 'run the same command again to try them once more: what can be read then takes their place';
  return { warnings, hint };
}
