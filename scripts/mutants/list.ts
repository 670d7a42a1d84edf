/** All faults that the tests must find. */
import { FLUSHING } from './flushing.ts';
import { FUZZED } from './fuzzed.ts';
import { KEEPING } from './keeping.ts';
import { OTHERS } from './others.ts';
import { SENDING } from './sending.ts';
import { PROVING } from './proving.ts';
import type { Mutant } from './try-mutant.ts';
import { WRITING } from './writing.ts';

export const MUTANTS: readonly Mutant[] = [
  ...FLUSHING,
  ...WRITING,
  ...KEEPING,
  ...PROVING,
  ...OTHERS,
  ...SENDING,
  ...FUZZED,
];
