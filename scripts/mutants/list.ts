/** All faults that the tests must find. */
import { BUILDING } from './building.ts';
import { DISTRUSTING } from './distrusting.ts';
import { FLEET } from './fleet.ts';
import { FLUSHING } from './flushing.ts';
import { GIVING_UP } from './privileges.ts';
import { HOLDING } from './holding.ts';
import { FUZZED } from './fuzzed.ts';
import { KEEPING } from './keeping.ts';
import { LEAVING_OUT } from './leaving-out.ts';
import { NOTIFYING } from './notifying.ts';
import { NBD } from './nbd.ts';
import { OTHERS } from './others.ts';
import { PIPES } from './pipes.ts';
import { SENDING } from './sending.ts';
import { PROVING } from './proving.ts';
import { RESTORING } from './restoring.ts';
import { RIGHT_DISK } from './right-disk.ts';
import { SEVERAL } from './several.ts';
import { SIGNERS } from './signers.ts';
import { STORING } from './storing.ts';
import { STRANGERS } from './strangers.ts';
import { THROUGH_SSH } from './through-ssh.ts';
import type { Mutant } from './try-mutant.ts';
import { WATCHING } from './watching.ts';
import { WRITING } from './writing.ts';

export const MUTANTS: readonly Mutant[] = [
  ...FLUSHING,
  ...WRITING,
  ...KEEPING,
  ...PROVING,
  ...OTHERS,
  ...SENDING,
  ...PIPES,
  ...RIGHT_DISK,
  ...DISTRUSTING,
  ...HOLDING,
  ...GIVING_UP,
  ...STRANGERS,
  ...SEVERAL,
  ...FLEET,
  ...SIGNERS,
  ...THROUGH_SSH,
  ...NBD,
  ...STORING,
  ...RESTORING,
  ...LEAVING_OUT,
  ...FUZZED,
  ...NOTIFYING,
  ...BUILDING,
  ...WATCHING,
];
