/** Complaints about arguments, as both commands make them. Pure. */
import { TransferError } from './errors.ts';

/**
 * @param error of a parser of arguments: what is wrong, perhaps with `(Did you mean --yes?)` on a second
 * line.
 * @param command whose `--help` has the right ones.
 */
export function usageErrorOf(error: Error, command: string): TransferError {
  const [what = '', guess = ''] = error.message.replace(/^error: /, '').split('\n');
  const meant = /^\(Did you mean (.+)\?\)$/.exec(guess)?.[1];
  const hint = meant === undefined ? `${command} --help` : `did you mean ${meant}? ${command} --help`;
  return new TransferError('usage', what, { cause: error, hint });
}
