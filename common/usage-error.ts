/** Errors in arguments, for both commands. Pure. */
import { TransferError } from './errors.ts';

/**
 * @param error of the parser, perhaps with `(Did you mean --yes?)` on a second line.
 * @param command whose `--help` lists the options.
 */
export function usageErrorOf(error: Error, command: string): TransferError {
  // Only the last line can be a suggestion: what was typed may contain line ends.
  const [, what = '', meant] =
    /^(?:error: )?([^]*?)(?:\n\(Did you mean (.+)\?\))?$/.exec(error.message) ?? [];
  const hint = meant === undefined ? `${command} --help` : `did you mean ${meant}? ${command} --help`;
  return new TransferError('usage', what, { cause: error, hint });
}
