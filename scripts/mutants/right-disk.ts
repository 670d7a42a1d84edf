/** Faults in writing the disk that was inspected, and in trusting keys, tickets and folders. */
import type { Mutant } from './try-mutant.ts';

const OPEN = 'common/disk/open-disk.ts';
const DEVICE = 'receiver/target/device-target.ts';
const FILE = 'receiver/target/file-target.ts';
const TOOLS = 'common/system-tools.ts';
const MODES = 'common/io/strict-modes.ts';
const SWAP_TESTS = ['test/receiver/swapped-target.test.ts'];
const SWAP_RUN_TESTS = ['test/end-to-end/swapped-disks.test.ts'];
const FIND_TESTS = ['test/receiver/open-target.test.ts'];
const PATH_TESTS = ['test/cli/search-path.test.ts'];
const MODES_TESTS = ['test/common/io/strict-modes.test.ts'];
const MODES_RUN_TESTS = ['test/cli/strict-modes.test.ts'];
const COMPARED = '      if (change !== undefined) throw changedTarget(path, change);\n';

const SWAPS: readonly Mutant[] = [
  {
    name: 'a device is not compared with what was inspected',
    file: DEVICE,
    edits: [[COMPARED, '']],
    tests: SWAP_TESTS,
  },
  {
    name: 'a file is not compared with what was inspected',
    file: FILE,
    edits: [[COMPARED, '']],
    tests: SWAP_TESTS,
  },
  {
    name: 'a file is opened by its name',
    file: FILE,
    edits: [
      [
        'return await open(reopenPathOf(disk.handle), constants.O_RDWR)',
        'return await open(path, constants.O_RDWR)',
      ],
    ],
    tests: SWAP_TESTS,
  },
  {
    name: 'a new file may be one that has come into being',
    file: FILE,
    edits: [['constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW', 'constants.O_CREAT']],
    tests: SWAP_TESTS,
  },
  {
    name: 'a new file is created by the name of its folder',
    file: FILE,
    edits: [['open(`${reopenPathOf(folder)}/${name}`, flags', 'open(path, flags']],
    tests: SWAP_TESTS,
  },
  {
    name: 'a refused new file is left behind',
    file: FILE,
    edits: [['if (there.dev === own.dev && there.ino === own.ino) await unlink(path);', '']],
    tests: SWAP_TESTS,
  },
  {
    name: 'what has replaced a refused new file is removed',
    file: FILE,
    edits: [
      [
        'if (there.dev === own.dev && there.ino === own.ino) await',
        'if (there.dev >= 0n && own.ino >= 0n) await',
      ],
    ],
    tests: SWAP_RUN_TESTS,
  },
  {
    name: 'names are not compared',
    file: OPEN,
    edits: [['  if (!(await leadsTo(path, handle))) {', '  if (path === "") {']],
    tests: SWAP_TESTS,
  },
  {
    name: 'sizes are not compared',
    file: OPEN,
    edits: [['sizeBytes !== null && presentBytes !== sizeBytes', 'sizeBytes !== null && presentBytes < 0']],
    tests: SWAP_TESTS,
  },
  {
    name: 'media are not compared',
    file: OPEN,
    edits: [['(await bootTimeIdOf(majorMinor)) === bootTimeId;', '(await bootTimeIdOf(majorMinor)) !== "";']],
    tests: SWAP_TESTS,
  },
  {
    name: 'the target is not compared again at the claim',
    file: 'receiver/transfer/claim.ts',
    edits: [['  await transfer.target.confirm();\n', '']],
    tests: SWAP_RUN_TESTS,
  },
  {
    name: 'the source is not compared before the claim',
    file: 'sender/preflight/preflight.ts',
    edits: [['      await refuseChanged(this.#watched);\n', '']],
    tests: SWAP_RUN_TESTS,
  },
  {
    name: 'a file that has got content before the claim is overwritten',
    file: FILE,
    edits: [['this.#foundBytes !== undefined && this.#foundBytes !== size', 'this.#foundBytes === -1']],
    tests: SWAP_RUN_TESTS,
  },
  {
    name: 'only the folder of the target itself is compared with the state folder',
    file: FILE,
    edits: [['    if (id === undefined || id === before) return;', '    if (id !== before) return;']],
    tests: FIND_TESTS,
  },
  {
    name: 'the state folder is compared by its name',
    file: FILE,
    edits: [['    if (id === state) {', '    if (path.startsWith(stateDir)) {']],
    tests: FIND_TESTS,
  },
];

const TRUST: readonly Mutant[] = [
  {
    name: "PATH comes before the system's folders",
    file: TOOLS,
    edits: [['[...SYSTEM_FOLDERS, ...more]', '[...more, ...SYSTEM_FOLDERS]']],
    tests: PATH_TESTS,
  },
  {
    name: 'relative and empty elements of PATH are searched',
    file: TOOLS,
    edits: [[".filter((folder) => folder.startsWith('/'))", ".filter((folder) => folder !== '-')"]],
    tests: PATH_TESTS,
  },
  {
    name: 'the group may read a secret',
    file: MODES,
    edits: [['const GROUP_OR_OTHERS = 0o077;', 'const GROUP_OR_OTHERS = 0o007;']],
    tests: MODES_TESTS,
  },
  {
    name: 'the group may write to a folder',
    file: MODES,
    edits: [['const WRITE_OF_OTHERS = 0o022;', 'const WRITE_OF_OTHERS = 0o002;']],
    tests: MODES_TESTS,
  },
  {
    name: 'only the folder itself is looked at, not those above it',
    file: MODES,
    edits: [['return dirname(at) === at ? undefined : await', 'return at !== "" ? undefined : await']],
    tests: MODES_TESTS,
  },
  {
    name: 'a sticky folder may belong to anybody',
    file: MODES,
    edits: [
      [
        'weakOwner(folder, stats) ?? (isSticky ? undefined : weakMode(folder, stats))',
        '(isSticky ? undefined : weakOwner(folder, stats) ?? weakMode(folder, stats))',
      ],
    ],
    tests: MODES_TESTS,
  },
  {
    name: "a key's mode and owner are not looked at",
    file: 'receiver/identity/secret-file.ts',
    edits: [['if (weakness !== undefined) refuse(', 'if (weakness?.hint === "") refuse(']],
    tests: MODES_RUN_TESTS,
  },
  {
    name: 'anybody may own the folders above the state folder',
    file: 'receiver/identity/state-dir.ts',
    edits: [
      [
        '  const weakness = await weakFolderAbove(dirname(folder));\n',
        '  const weakness = await weakFolderAbove("/");\n',
      ],
    ],
    tests: MODES_RUN_TESTS,
  },
  {
    name: 'a journal that others can change is believed',
    file: 'receiver/journals.ts',
    edits: [
      ['  await refuseWeak(path);\n  for', '  for'],
      ['    await refuseWeak(path);\n', ''],
    ],
    tests: MODES_RUN_TESTS,
  },
  {
    name: 'a ticket file that others may read is used',
    file: 'sender/find-ticket.ts',
    edits: [
      [
        'stats?.isFile() === true ? weakSecret(path, stats) : undefined',
        'stats?.isFIFO() === true ? weakSecret(path, stats) : undefined',
      ],
    ],
    tests: MODES_RUN_TESTS,
  },
];

export const RIGHT_DISK: readonly Mutant[] = [...SWAPS, ...TRUST];
