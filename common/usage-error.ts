/** Complaints about arguments, as both commands make them. Pure. */
import { TransferError } from './errors.ts';

/**
 * @param error of a parser of arguments: what is wrong, perhaps with `(Did you mean --yes?)` on a second
 * line.
 * @param command whose `--help` has the right ones.
 */
export function usageErrorOf(error: Error, command: string): TransferError {
  // Only the last line can be a guess: what was typed may have line ends, too.
  const [, what = '', meant] =
    /^(?:error: )?([^]*?)(?:\n\(Did you mean (.+)\?\))?$/.exec(error.message) ?? [];
  const hint = meant === undefined ? `${command} --help` : `did you mean ${meant}? ${command} --help`;
  return new TransferError('usage', what, { cause: error, hint });
}
