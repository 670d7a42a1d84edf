/** Faults in how the one file is made, known and described. */
import type { Mutant } from './try-mutant.ts';

const LIBATOMIC = 'scripts/build/libatomic.ts';
const LIBATOMIC_TESTS = ['test/build/libatomic.test.ts'];
const MANUAL_TESTS = ['test/build/manual.test.ts'];

export const BUILDING: readonly Mutant[] = [
  {
    name: 'a size that the function cannot exchange is built in',
    file: LIBATOMIC,
    edits: [['at).includes(setting)) {', 'at).includes(setting) && count === 0) {']],
    tests: LIBATOMIC_TESTS,
  },
  {
    name: 'any function of libatomic is replaced by this one',
    file: LIBATOMIC,
    edits: [['slots.length > 1 || slot.name !== FUNCTION', 'slots.length > 1']],
    tests: LIBATOMIC_TESTS,
  },
  {
    name: 'an exchange that failed does not say what it found',
    file: LIBATOMIC,
    edits: [["      ['488902', '1: mov %rax, (%rdx)'],\n", "      ['90', '1: nop'],\n"]],
    tests: LIBATOMIC_TESTS,
  },
  {
    name: 'a program of any version is taken',
    file: 'common/program/program.ts',
    edits: [['if (!end.equals(trailer)) return', 'if (end.length !== trailer.length) return']],
    tests: ['test/common/program/program.test.ts'],
  },
  {
    name: 'files are offered where a number belongs',
    file: 'scripts/build/manual.ts',
    edits: [["takesFile(option) ? '-f' : ''", "'-f'"]],
    tests: MANUAL_TESTS,
  },
];
