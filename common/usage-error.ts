/** Usage errors and help as both commands print them. Pure. */
import { TransferError } from './errors.ts';

/** The help is this wide on every terminal: a wider text is hard to read, a narrower terminal rare. */
export const HELP_COLUMNS = 80;

/** What commander says → what we say. */
const REWORDED: readonly (readonly [RegExp, string])[] = [
  [
    /^option '(--\S+)[^']*' argument '([^]*)' is invalid\. Allowed choices are (.+)\.$/,
    "$1 '$2' is not one of $3",
  ],
  [/^option '((--\S+) [^']+)' argument missing$/, '$2 needs a value: $1'],
  [/^missing required argument '(.+)'$/, 'no $1 given'],
];

/**
 * @param error of commander: what is wrong, perhaps with `(Did you mean --yes?)` on a second line.
 * @param command whose `--help` the hint names.
 */
export function usageErrorOf(error: Error, command: string): TransferError {
  // Only the last line can be a suggestion: the user's arguments may contain line breaks.
  const [, what = '', meant] =
    /^(?:error: )?([^]*?)(?:\n\(Did you mean (.+)\?\))?$/.exec(error.message) ?? [];
  const hint = meant === undefined ? `${command} --help` : `did you mean ${meant}? ${command} --help`;
  const message = REWORDED.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), what);
  return new TransferError('usage', message, { cause: error, hint });
}
