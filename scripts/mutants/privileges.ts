/** Faults in how the receiver gives up the rights of root, and in what two requests do at once. */
import type { Mutant } from './try-mutant.ts';

const PRIVILEGES = 'receiver/privileges.ts';
const PRIVILEGES_TESTS = ['test/receiver/privileges.test.ts'];
const TOOLS = 'receiver/target/disk-tools.ts';
const TOOLS_TESTS = ['test/receiver/target/disk-tools.test.ts'];

export const GIVING_UP: readonly Mutant[] = [
  {
    name: 'the receiver stays root',
    file: PRIVILEGES,
    edits: [['    process.setuid?.(userId);\n', '    process.seteuid?.(userId);\n']],
    tests: PRIVILEGES_TESTS,
  },
  {
    name: 'the receiver keeps the groups of root',
    file: PRIVILEGES,
    edits: [['    process.setgid?.(userId);\n    process.setuid', '    process.setuid']],
    tests: PRIVILEGES_TESTS,
  },
  {
    name: 'the journal can be replaced by the user that the receiver becomes',
    file: PRIVILEGES,
    edits: [['const FOLDER_MODE = 0o1770;', 'const FOLDER_MODE = 0o0770;']],
    tests: PRIVILEGES_TESTS,
  },
  {
    name: 'a hard link in the folder gives away a file of root',
    file: PRIVILEGES,
    edits: [['stats.isFile() && stats.nlink === 1', 'stats.isFile()']],
    tests: PRIVILEGES_TESTS,
  },
  {
    name: 'a shell takes a request for more than numbers',
    file: TOOLS,
    edits: [["case $1 in '' | *[!0-9]*) return 1 ;; esac;", ':;']],
    tests: TOOLS_TESTS,
  },
  {
    name: 'a signal for the receiver ends the shell',
    file: TOOLS,
    edits: [["trap '' ALRM HUP INT PIPE QUIT TERM USR1 USR2", "trap '' INT"]],
    tests: TOOLS_TESTS,
  },
  {
    name: 'what was opened again is sealed over',
    file: 'receiver/transfer/seal.ts',
    edits: [
      [
        'if (transfer.sealed !== sealed || transfer.opened !== open) return',
        'if (transfer.sealed === undefined && transfer.opened === undefined) return',
      ],
    ],
    tests: ['test/receiver/http/routes-reopen-race.test.ts'],
  },
];
