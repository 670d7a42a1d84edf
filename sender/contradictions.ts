/** Options of ddt-send that exclude each other. Pure. */
import { TransferError } from '../common/errors.ts';

/** Options of which one would have no effect beside the other. */
const CONTRADICTIONS = [
  ['--check', '--dry-run'],
  ['--check', '--keep-open'],
  ['--check', '--receipt'],
  ['--check', '--mapfile'],
  ['--check', '--yes'],
  ['--dry-run', '--keep-open'],
  ['--probe', '--dry-run'],
  ['--probe', '--check'],
  ['--probe', '--keep-open'],
  ['--probe', '--receipt'],
  ['--probe', '--mapfile'],
  ['--probe', '--domain-mapfile'],
  ['--probe', '--used-only'],
  ['--domain-mapfile', '--used-only'],
  ['--keep-open', '--receipt'],
  ...['--probe', '--dry-run', '--check'].map((reading) => ['--web', reading] as const),
  ['--program', '--remote-program'],
  ...['--ticket-file', '--identity', '--connect'].map((way) => ['--pulled', way] as const),
  ...['--pulled', '--bwlimit', '--ticket-file', '--keep-open'].map((way) => ['--steered', way] as const),
  // They change what the receiver has recorded.
  ...['--dry-run', '--probe', '--check'].flatMap((reading) =>
    ['--discard-transfer', '--update', '--adopt'].map((change) => [reading, change] as const),
  ),
] as const;

/** @throws TransferError `usage`. */
export function refuseContradictions(isGiven: (option: string) => boolean): void {
  const found = CONTRADICTIONS.find((pair) => pair.every(isGiven));
  if (found === undefined) return;
  const [one, other] = found;
  throw new TransferError('usage', `${one} and ${other} exclude each other`, { hint: 'ddt-send --help' });
}
