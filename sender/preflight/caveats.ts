/** What keeps a finished copy from being a proof: with any of these the exit status is 3. Pure. */
import { countAreas } from '../../common/areas.ts';
import { runOutText } from '../bad-sectors/optical-run-out.ts';
import type { Source } from '../source/source.ts';
import type { DoneFacts } from '../transfer/counters.ts';

/** Something about a copy that people should know before they trust it. */
export interface Caveat {
  readonly warning: string;
  readonly hint?: string;
}

/** @param lists files that list the unreadable areas. */
export function caveatsOf(
  { verified, unreadable }: Pick<DoneFacts, 'verified' | 'unreadable'>,
  { description: { path }, runOut }: Pick<Source, 'description' | 'runOut'>,
  lists: readonly string[],
): Caveat[] {
  const caveats: Caveat[] = [];
  if (verified === 'none') {
    caveats.push({ warning: 'nothing was read back: the receiver was started with --verify none' });
  }
  if (unreadable.length === 0) return caveats;
  const where =
    lists.length === 0 ? 'the receipt lists them (--receipt)' : `listed in ${lists.join(' and ')}`;
  const what = `${countAreas(unreadable)} of ${path} were unreadable and are zeros on the target`;
  const warning = `${what}; ${where}`;
  const note = runOutText(runOut, path, unreadable);
  // Nothing can ever be read in a run-out.
  const isDamage = note === undefined || unreadable.some(([offset]) => offset < (runOut?.isoSizeBytes ?? 0));
  const hint = 'run the same command again to retry them: what can be read then replaces the zeros';
  caveats.push({ warning, ...(isDamage ? { hint } : {}) });
  if (note !== undefined) caveats.push({ warning: note });
  return caveats;
}
